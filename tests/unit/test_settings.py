"""What the environment may say, and how it is told when it makes no sense."""

from dataclasses import fields
from pathlib import Path

import pytest

from headwater.errors import SettingRefused, SettingUnknown
from headwater.log.log import LogOptions
from headwater.settings import DEFAULT_URL, Settings, found, redacted, shown


def test_nothing_set_leaves_the_defaults() -> None:
    settings = Settings.read({"HEADWATER_URL": "", "HEADWATER_LOG_PAGE": "  ", "PATH": "/bin"})
    assert settings == Settings()
    assert settings.url == DEFAULT_URL
    assert settings.log_options() == {}


def test_what_is_set_becomes_options_of_the_log() -> None:
    environment = {"HEADWATER_URL": "memory:", "HEADWATER_LOG_PAGE": "7", "HEADWATER_LOG_POLL": "0.5"}
    settings = Settings.read(environment)
    assert settings.url == "memory:"
    assert LogOptions(**settings.log_options()) == LogOptions(page=7, poll=0.5)


def test_every_setting_of_the_log_is_an_option_of_it() -> None:
    names = {field.name.removeprefix("log_") for field in fields(Settings) if field.name.startswith("log_")}
    assert names <= {field.name for field in fields(LogOptions)}


def test_the_address_of_redis_is_taken_as_it_is() -> None:
    assert Settings.read({"HEADWATER_REDIS_URL": "redis://r"}).redis_url == "redis://r"
    assert Settings.read({}).redis_url is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADWATER_LOG_PAGE", "many"),
        ("HEADWATER_LOG_PAGE", "1.5"),
        ("HEADWATER_LOG_PAGE", "0"),
        ("HEADWATER_LOG_POLL", "-1"),
        ("HEADWATER_LOG_POLL", "nan"),
        ("HEADWATER_LOG_POLL", "inf"),
    ],
)
def test_a_senseless_value_is_refused_with_variable_value_and_fix(variable: str, value: str) -> None:
    with pytest.raises(SettingRefused) as caught:
        Settings.read({variable: value})
    assert (caught.value.variable, caught.value.value) == (variable, value)
    assert variable in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "Set it to" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///shop.db", "sqlite:///shop.db"),
        ("postgresql://ada@db/shop", "postgresql://ada@db/shop"),
        ("postgresql://ada:secret@db:5432/shop", "postgresql://ada:***@db:5432/shop"),
        ("postgresql://ada:sec:r@e/t@db/shop", "postgresql://ada:***@db/shop"),
        (
            "postgresql://db/shop?user=ada&password=secret&sslmode=require",
            "postgresql://db/shop?user=ada&password=***&sslmode=require",
        ),
        (
            "POSTGRESQL://ada:secret@db/shop?sslpassword=secret",
            "POSTGRESQL://ada:***@db/shop?sslpassword=***",
        ),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_the_environment_comes_before_the_file_and_that_before_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.headwater]\nurl = "memory:"\nserver_port = 1\nlog_page = 1\n'
    )
    (tmp_path / "headwater.toml").write_text(
        'server_port = 2\nlog_page = 2\nserver_allow_hosts = ["a", "b"]\n'
    )
    environment = {"HEADWATER_LOG_PAGE": "3", "HEADWATER_SERVER_REQUIRE_KEY": "yes"}
    settings = Settings.read(environment, tmp_path)
    assert (settings.url, settings.server_port, settings.log_page) == ("memory:", 2, 3)
    assert (settings.server_allow_hosts, settings.server_require_key) == (("a", "b"), True)
    sources = {name: value.source for name, value in found(environment, tmp_path).items()}
    assert sources == {
        "url": "[tool.headwater] of pyproject.toml",
        "server_port": "headwater.toml",
        "log_page": "HEADWATER_LOG_PAGE in the environment",
        "server_allow_hosts": "headwater.toml",
        "server_require_key": "HEADWATER_SERVER_REQUIRE_KEY in the environment",
    }


def test_a_name_that_is_not_known_is_refused_with_its_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingUnknown, match="Did you mean HEADWATER_REDIS_URL"):
        Settings.read({"HEADWATER_REDIS_URI": "redis://r"}, tmp_path)
    (tmp_path / "headwater.toml").write_text("server_prot = 2\n")
    with pytest.raises(SettingUnknown, match=r"headwater\.toml.*server_port"):
        Settings.read({}, tmp_path)
    (tmp_path / "headwater.toml").unlink()
    assert Settings.read({"HEADWATER_TEST_ANYTHING": "1"}, tmp_path) == Settings()


@pytest.mark.parametrize(
    "line", ["server_port = 'x'", "server_port = 0", "url = 7", "server_require_key = 1", "x"]
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "headwater.toml").write_text(line)
    with pytest.raises(SettingRefused, match=r"headwater\.toml"):
        Settings.read({}, tmp_path)


def test_secrets_are_not_shown() -> None:
    assert shown("webhook_secrets", ("default=whsec_x",)) == "***"
    assert shown("url", "postgresql://u:secret@h/d") == "postgresql://u:***@h/d"
