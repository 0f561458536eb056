"""From an address to a log: the only place that knows which backends there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.errors import NotSupported
from headwater.events.model import Event
from headwater.events.registry import Registry
from headwater.log.log import Log, LogOptions
from headwater.log.memory import MemoryBackend
from headwater.log.port import Backend, SharedHints
from headwater.settings import Settings, redacted


def open_log(
    url: str | None = None,
    *models: type[Event],
    registry: Registry | None = None,
    options: LogOptions | None = None,
) -> Log:
    """A log to use in `async with`: `memory:`, `sqlite:///shop.db`, `postgresql://...`.

    What is left out comes from the environment (see `settings`), else it is a SQLite file in the working directory.
    """
    settings = Settings.read()
    options = options or LogOptions(**settings.log_options())
    backend = backend_for(url or settings.url)
    return Log(backend, registry or Registry(*models), options=options, hints=_hints_for(backend, settings))


def _hints_for(backend: Backend, settings: Settings) -> SharedHints | None:
    """Redis, where it is set; a log in memory has nobody to hint."""
    if settings.redis_url is None or isinstance(backend, MemoryBackend):
        return None
    from headwater.log.redis_hints import RedisHints

    return RedisHints(settings.redis_url)


def backend_for(url: str, **more: Any) -> Backend:
    """The backend of an address. Each is imported only when it is asked for."""
    scheme = url.partition(":")[0]
    if scheme == "memory":
        return MemoryBackend(**more)
    if file := sqlite_path(url):
        from headwater.log.sqlite.backend import SqliteBackend

        return SqliteBackend(file, **more)
    if scheme in {"postgresql", "postgres"}:
        from headwater.log.postgres.backend import PostgresBackend

        return PostgresBackend(url, **more)
    raise NotSupported(
        f"{redacted(url)!r} is no address of a log. Use memory:, sqlite:///FILE or postgresql://USER@HOST/DATABASE."
    )


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite address, None for other addresses.

    `sqlite:///shop.db` is a relative path, `sqlite:////var/shop.db` an absolute one, as elsewhere.
    """
    scheme, _, rest = url.partition(":")
    if scheme != "sqlite":
        return None
    if not rest.startswith("///") or rest == "///":
        raise NotSupported(f"{url!r} names no file. Write sqlite:///FILE, or sqlite:////ABSOLUTE/FILE.")
    return Path(rest[3:])
