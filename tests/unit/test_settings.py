"""What the environment may say, and how it is told when it makes no sense."""

from dataclasses import fields

import pytest

from headwater.errors import SettingRefused
from headwater.log.log import LogOptions
from headwater.settings import DEFAULT_URL, Settings, redacted


def test_nothing_set_leaves_the_defaults() -> None:
    settings = Settings.from_environment({"HEADWATER_URL": "", "HEADWATER_LOG_PAGE": "  ", "PATH": "/bin"})
    assert settings == Settings()
    assert settings.url == DEFAULT_URL
    assert settings.log_options() == {}


def test_what_is_set_becomes_options_of_the_log() -> None:
    environment = {"HEADWATER_URL": "memory:", "HEADWATER_LOG_PAGE": "7", "HEADWATER_LOG_POLL": "0.5"}
    settings = Settings.from_environment(environment)
    assert settings.url == "memory:"
    assert LogOptions(**settings.log_options()) == LogOptions(page=7, poll=0.5)


def test_every_setting_of_the_log_is_an_option_of_it() -> None:
    names = {field.name.removeprefix("log_") for field in fields(Settings) if "url" not in field.name}
    assert names <= {field.name for field in fields(LogOptions)}


def test_the_address_of_redis_is_taken_as_it_is() -> None:
    assert Settings.from_environment({"HEADWATER_REDIS_URL": "redis://r"}).redis_url == "redis://r"
    assert Settings.from_environment({}).redis_url is None


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
        Settings.from_environment({variable: value})
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
