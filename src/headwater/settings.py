"""What the environment says, in one typed object that is read once, where a program begins.

Each field is a variable: HEADWATER_ and the field's name in capitals. One that is empty counts as not set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from headwater.errors import SettingRefused

DEFAULT_URL = "sqlite:///headwater.db"
_PREFIX = "HEADWATER_"
_LOG = "log_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the log is, a Redis for its hints, and its options that differ from the defaults (see `LogOptions`)."""

    url: str = DEFAULT_URL
    redis_url: str | None = None
    log_page: int | None = None
    log_poll: float | None = None
    log_linger: float | None = None
    log_batch_bytes: int | None = None
    log_batch_calls: int | None = None
    log_queue_bytes: int | None = None
    log_close_patience: float | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The settings of this process, checked."""
        environment = os.environ if environment is None else environment
        found: dict[str, Any] = {}
        for field in fields(cls):
            variable = _PREFIX + field.name.upper()
            value = environment.get(variable, "").strip()
            if value:
                found[field.name] = _parse(variable, value, str(field.type))
        return cls(**found)

    def log_options(self) -> dict[str, Any]:
        """The options of the log that were set, by their names in `LogOptions`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name.removeprefix(_LOG): value
            for name, value in values.items()
            if name.startswith(_LOG) and value is not None
        }


def redacted(url: str) -> str:
    """An address as it may be shown: without its passwords."""
    url = re.sub(r"([?&](?:password|sslpassword|direct_url)=)[^&#]*", r"\1***", url, flags=re.IGNORECASE)
    return re.sub(r"^([a-z][a-z0-9+.-]*://[^:@/?#]*):.*@", r"\1:***@", url, flags=re.IGNORECASE)


def _parse(variable: str, value: str, kind: str) -> str | int | float:
    if kind.startswith("str"):
        return value
    wanted, parse = ("a whole number", int) if kind.startswith("int") else ("a number", float)
    try:
        number = parse(value)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise SettingRefused(variable, value, f"{wanted} above 0")
    return number
