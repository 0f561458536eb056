"""The table that keeps states in ClickHouse, and the way to it: a server, or the engine in this process (chdb).

The client waits where it is called, so each call has a thread: of our own, as those of a server that does not answer
are held for long. What the client writes may be sent twice: rows of the same version are the same rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import orjson

from headwater.errors import NotSupported, Trouble
from headwater.projections.statements import statements
from headwater.projections.stores import Key, StateRow
from headwater.settings import redacted

T = TypeVar("T")
MARK: Final = Key("-", "")
"""The key of the row that goes with each write. No tenant begins like this."""
_SQL: Final = statements("clickhouse.sql")
_SCHEMES: Final = {"clickhouse": "http", "clickhouses": "https", "http": "http", "https": "https"}
_COLUMNS: Final = ("log_id", "name", "generation", "tenant", "key", "version", "position", "state")
_SETTINGS: Final = {
    "async_insert": 0,  # an acknowledged row is there
    "select_sequential_consistency": 1,  # on every replica
    "max_query_size": 1 << 28,  # keys are part of the statement
}
_CONNECTING: Final = 5
_ANSWERING: Final = 30
_GONE: Final = {60, 81}
"""There is no such table, or no such database."""
_THREADS: Final = 8
_AT_ONCE: Final = 10_000


class Place(NamedTuple):
    """Which states: those of a log's projection, in one generation."""

    log_id: str
    name: str
    generation: str


class StatesTable:
    """Shared by all projections that keep their states there."""

    def __init__(self, url: str) -> None:
        self._url, self._shown = url, redacted(url)
        self._client: Any = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="headwater-clickhouse")
        self._opening, self._made = Lock(), False
        if not url.startswith("chdb:") and urlsplit(url).scheme not in _SCHEMES:
            raise NotSupported(
                f"{self._shown} is no address of a ClickHouse. It looks like "
                "clickhouse://user:password@host:8123/database, https://..., or chdb:./folder for the engine in this "
                "process."
            )

    async def make(self) -> None:
        """Have the table be there."""
        if not self._made:
            await self._ask(lambda client: client.command(_SQL["make"]))
            self._made = True

    async def insert(self, place: Place, version: int, position: int, rows: Sequence[StateRow]) -> None:
        """States, and how far this goes; newer ones of the same keys stay in use."""
        said = StateRow(*MARK, position, None)
        block = b"\n".join(_line(place, version, row) for row in (*rows, said))
        await self._ask(
            lambda client: client.raw_insert(
                "_headwater_states", column_names=_COLUMNS, insert_block=block, fmt="JSONCompactEachRow"
            )
        )

    async def load(self, generation: str, keys: Sequence[Key]) -> dict[Key, StateRow]:
        """What there is of these keys."""
        found: dict[Key, StateRow] = {}
        for begin in range(0, len(keys), _AT_ONCE):
            these = ", ".join(f"({_text(k.tenant)}, {_text(k.key)})" for k in keys[begin : begin + _AT_ONCE])
            rows = await self._rows("load", generation, keys=these)
            found |= {Key(row.tenant, row.key): row for row in rows}
        return found

    async def page(self, generation: str, after: Key | None, limit: int) -> Sequence[StateRow]:
        """States in the order of tenant and key."""
        tenant, key = after or Key("", "")
        return await self._rows("page", generation, tenant=_text(tenant), key=_text(key), limit=limit)

    async def keys(self, generation: str, tenant: str | None, key: str | None) -> Sequence[Key]:
        """Whose states there are: all, a tenant's, or those under a key."""
        asked = {"tenant": tenant, "key": key}
        chosen = " AND ".join(f"{column} = {_text(v)}" for column, v in asked.items() if v is not None)
        statement = _SQL["keys"].format(generation=_text(generation), chosen=chosen or "1")
        return [Key(*map(_said, row)) for row in await self._query(statement)]

    async def show(self, place: Place) -> None:
        """Have the view of a projection show this generation."""
        view = "`headwater_" + place.name.replace("`", "``") + "`"
        statement = _SQL["view"].format(view=view, generation=_text(place.generation))
        await self._ask(lambda client: client.command(statement))

    async def generations(self, log_id: str, name: str) -> set[str]:
        """What there is of a projection."""
        statement = _SQL["generations"].format(log_id=_text(log_id), name=_text(name))
        return {_said(row[0]) for row in await self._query(statement)}

    async def forget(self, generation: str) -> None:
        """Remove a generation; one that is not there is no error."""
        statement = _SQL["forget"].format(generation=_text(generation))
        await self._ask(lambda client: client.command(statement))

    async def close(self) -> None:
        if self._client is not None:
            client, self._client, self._made = self._client, None, False
            await self._in_thread(client.close)

    async def _rows(self, statement: str, generation: str, **parts: object) -> list[StateRow]:
        query = _SQL[statement].format(generation=_text(generation), **parts)
        return [
            StateRow(_said(tenant), _said(key), position, state)
            for tenant, key, position, state in await self._query(query)
        ]

    async def _query(self, statement: str) -> Iterable[Any]:
        rows: Iterable[Any] = await self._ask(
            lambda client: client.query(statement, query_formats={"String": "bytes"}).result_rows
        )
        return rows

    async def _ask(self, ask: Callable[[Any], T]) -> T:
        return await self._in_thread(partial(self._asked, ask))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _asked(self, ask: Callable[[Any], T]) -> T:
        try:
            from clickhouse_connect.driver.exceptions import ClickHouseError
        except ImportError:
            raise NotSupported(
                "States in ClickHouse need its client: pip install 'headwater[clickhouse]', or 'headwater[chdb]' for "
                "the engine in this process."
            ) from None
        try:
            with self._opening:
                if self._client is None:
                    self._client = _opened(self._url)
            return ask(self._client)
        except (ClickHouseError, OSError) as error:
            if getattr(error, "code", None) in _GONE:
                self._made = False
            why = getattr(error.__cause__, "reason", None) or error  # which is short
            raise Trouble(
                f"The states in {self._shown} cannot be reached: {why}. They go on when ClickHouse is back."
            ) from error


def _opened(url: str) -> Any:
    driver: Any = import_module("clickhouse_connect")  # its types are known by half
    connect = driver.get_client
    if url.startswith("chdb:"):
        return _embedded(connect, url.removeprefix("chdb:").removeprefix("//"))
    scheme, _, rest = url.partition("://")
    return connect(
        dsn=f"clickhouse://{rest}",
        interface=_SCHEMES[scheme],
        connect_timeout=_CONNECTING,
        send_receive_timeout=_ANSWERING,
        autogenerate_session_id=False,  # calls of several projections go side by side
        settings=_SETTINGS,
    )


def _embedded(connect: Any, folder: str) -> Any:
    """The engine keeps its folder for itself, and a process has one engine."""
    from clickhouse_connect.driver.exceptions import ProgrammingError

    try:
        return connect(interface="chdb", path=folder or ":memory:", settings=_SETTINGS)
    except ImportError:
        raise NotSupported("chdb: needs the engine: pip install 'headwater[chdb]'.") from None
    except ProgrammingError as error:
        if "already initialized" in str(error):
            raise NotSupported(
                f"This process has states in another folder of chdb open already, so {folder} cannot be: a process "
                "has one. Keep all states in one folder, or use a ClickHouse server: clickhouse://host:8123/database"
            ) from error
        raise NotSupported(
            f"{folder} is open in another process, or is no folder of chdb: one process may have it. For several "
            "processes (a worker and a command line are two) use a ClickHouse server: "
            "clickhouse://host:8123/database. For a process on its own, chdb::memory: keeps states in its memory."
        ) from error


def _line(place: Place, version: int, row: StateRow) -> bytes:
    state = None if row.state is None else row.state.decode()
    return orjson.dumps([*place, row.tenant, row.key, str(version), row.position, state])


def _text(value: str) -> str:
    """A string in a statement."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"


def _said(value: bytes) -> str:
    return value.decode()
