"""What may be set from outside a program, in one typed object that is read once, where the program begins.

A value comes from the first of: the environment (`HEADWATER_` and the field's name in capitals), a file
`headwater.toml` of the working directory, the table `[tool.headwater]` of its `pyproject.toml`, the default. What a
program or a command line gives comes before all of them. A variable that is empty counts as not set; a name that is not
known is refused, since it is a slip of the pen that would else change nothing without a sound.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from pydantic import TypeAdapter, ValidationError

from headwater.errors import SettingRefused, SettingUnknown

DEFAULT_URL: Final = "sqlite:///headwater.db"
_PREFIX: Final = "HEADWATER_"
_OTHERS: Final = ("HEADWATER_TEST_", "HEADWATER_BENCH_")
_LOG: Final = "log_"
_TEXTS: Final = TypeAdapter(list[str])
_SECRET: Final = frozenset({"api_key", "webhook_secrets"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the log is, and a Redis for its hints; its options that differ from the defaults (see `LogOptions`); how a
    server listens and whom it lets in; where a worker tells how it fares.
    """

    url: str = DEFAULT_URL
    redis_url: str | None = None
    log_page: int | None = None
    log_poll: float | None = None
    log_linger: float | None = None
    log_batch_bytes: int | None = None
    log_batch_calls: int | None = None
    log_queue_bytes: int | None = None
    log_close_patience: float | None = None
    api_key: str | None = None
    server_host: str = "127.0.0.1"
    server_port: int = 8233
    server_require_key: bool = False
    server_allow_hosts: tuple[str, ...] = ()
    server_rate: float = 1000.0
    server_max_body: int = 4 * 1024 * 1024
    webhook_secrets: tuple[str, ...] = ()
    worker_metrics_url: str = "http://127.0.0.1:2999/metrics"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 2999

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Self:
        """The settings of this process, checked."""
        return cls(**{name: value.value for name, value in found(environment, folder).items()})

    def log_options(self) -> dict[str, Any]:
        """The options of the log that were set, by their names in `LogOptions`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name.removeprefix(_LOG): value
            for name, value in values.items()
            if name.startswith(_LOG) and value is not None
        }


class Found(NamedTuple):
    """A value, and where it was found."""

    value: Any
    source: str


def found(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> dict[str, Found]:
    """What was set, by field, each with its source."""
    environment = os.environ if environment is None else environment
    folder = folder or Path()
    kinds = {field.name: str(field.type) for field in fields(Settings)}
    values: dict[str, Found] = {}
    for source, table in (_pyproject(folder), _file(folder)):
        for name, value in table.items():
            if name not in kinds:
                raise _unknown(name, source, list(kinds))
            values[name] = Found(_checked(f"{name} in {source}", value, kinds[name]), source)
    for variable, text in environment.items():
        if not variable.startswith(_PREFIX) or variable.startswith(_OTHERS) or not text.strip():
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name not in kinds:
            raise _unknown(variable, "the environment", [_PREFIX + known.upper() for known in kinds])
        values[name] = Found(_parsed(variable, text.strip(), kinds[name]), f"{variable} in the environment")
    return values


def shown(name: str, value: Any) -> Any:
    """A value as it may be shown."""
    if name in _SECRET and value:
        return "***"
    return redacted(value) if isinstance(value, str) else value


def redacted(url: str) -> str:
    """An address as it may be shown: without its passwords."""
    url = re.sub(r"([?&](?:password|sslpassword|direct_url)=)[^&#]*", r"\1***", url, flags=re.IGNORECASE)
    return re.sub(r"^([a-z][a-z0-9+.-]*://[^:@/?#]*):.*@", r"\1:***@", url, flags=re.IGNORECASE)


def _pyproject(folder: Path) -> tuple[str, dict[str, Any]]:
    tools: dict[str, Any] = _toml(folder / "pyproject.toml").get("tool", {})
    return "[tool.headwater] of pyproject.toml", tools.get("headwater", {})


def _file(folder: Path) -> tuple[str, dict[str, Any]]:
    return "headwater.toml", _toml(folder / "headwater.toml")


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise SettingRefused(file.name, "not readable", f"a file in TOML ({error})") from None


def _unknown(name: str, source: str, known: list[str]) -> SettingUnknown:
    near = get_close_matches(name, known, 1, 0.7)
    return SettingUnknown(name, source, near[0] if near else None)


def _parsed(variable: str, text: str, kind: str) -> Any:
    """A value of the environment."""
    if kind.startswith("tuple"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind.startswith("bool"):
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off"}:
            return False
        raise SettingRefused(variable, text, "true or false")
    if kind.startswith("str"):
        return text
    try:
        return _number(variable, text, kind, int(text) if kind.startswith("int") else float(text))
    except ValueError:
        raise SettingRefused(variable, text, _wanted(kind)) from None


def _checked(where: str, value: Any, kind: str) -> Any:
    """A value of a file, which has a type already."""
    if kind.startswith("tuple"):
        with suppress(ValidationError):
            return tuple(_TEXTS.validate_python(value, strict=True))
    elif isinstance(value, bool | str):
        if kind.startswith("bool" if isinstance(value, bool) else "str"):
            return value
    elif isinstance(value, int | float) and (
        kind.startswith("float") or (kind.startswith("int") and isinstance(value, int))
    ):
        return _number(where, str(value), kind, value)
    raise SettingRefused(where, str(value), _wanted(kind))


def _number(where: str, text: str, kind: str, number: float) -> Any:
    if not 0 < number < float("inf"):
        raise SettingRefused(where, text, _wanted(kind))
    return float(number) if kind.startswith("float") else number


def _wanted(kind: str) -> str:
    for begin, what in (("tuple", "a list of texts"), ("bool", "true or false"), ("str", "a text")):
        if kind.startswith(begin):
            return what
    return "a whole number above 0" if kind.startswith("int") else "a number above 0"
