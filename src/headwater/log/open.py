"""From an address to a log: the only place that knows which backends there are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from headwater.errors import NotSupported
from headwater.events.model import Event
from headwater.events.registry import Registry
from headwater.log.log import Log, LogOptions
from headwater.log.memory import MemoryBackend
from headwater.log.port import Backend

DEFAULT_URL = "sqlite:///headwater.db"


def open_log(
    url: str | None = None,
    *models: type[Event],
    registry: Registry | None = None,
    options: LogOptions | None = None,
) -> Log:
    """A log to use in `async with`: `memory:`, `sqlite:///shop.db`, `postgresql://...`.

    Without an address: HEADWATER_URL, else a SQLite file in the working directory.
    """
    return Log(backend_for(url), registry or Registry(*models), options=options)


def backend_for(url: str | None = None, **more: Any) -> Backend:
    """The backend of an address. Each is imported only when it is asked for."""
    url = url or os.environ.get("HEADWATER_URL") or DEFAULT_URL
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return MemoryBackend(**more)
    if scheme == "sqlite":
        from headwater.log.sqlite.backend import SqliteBackend

        return SqliteBackend(_path(url, rest), **more)
    if scheme in {"postgresql", "postgres"}:
        from headwater.log.postgres.backend import PostgresBackend

        return PostgresBackend(url, **more)
    raise NotSupported(
        f"{url.split('@')[-1]!r} is no address of a log. Use memory:, sqlite:///FILE or postgresql://USER@HOST/DATABASE."
    )


def _path(url: str, rest: str) -> Path:
    """`sqlite:///shop.db` is a relative path, `sqlite:////var/shop.db` an absolute one, as elsewhere."""
    if not rest.startswith("///") or rest == "///":
        raise NotSupported(f"{url!r} names no file. Write sqlite:///FILE, or sqlite:////ABSOLUTE/FILE.")
    return Path(rest[3:])
