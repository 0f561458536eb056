"""The peer: eventsourcing 9.5, in its fastest configuration, called below its own object mapping.

Its recorders are handed ready `StoredEvent`s, so what is measured is storing and reading, and none of its (or the
user's) Python above. On Postgres that is the database function, with a pool of eight connections and eight threads,
which is also the configuration that gives up order: its readers may pass an event that commits late. On SQLite it is
one thread, WAL, synchronous=FULL. When eventsourcing is not installed, cases go on without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

from bench.harness import rate
from bench.orders import ORDERS
from headwater.events.canonical import encode_event

MISSING = "eventsourcing is not installed: `make bench` installs the peer"
THREADS = 8
PAGE = 1000


def installed(module: str = "psycopg") -> bool:
    return find_spec("eventsourcing") is not None and find_spec(module) is not None


@contextmanager
def postgres(url: str) -> Iterator[Any]:
    """A recorder on a database of ours; its table is its own."""
    from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

    parts = urlsplit(url)
    datastore = PostgresDatastore(
        dbname=parts.path.lstrip("/"),
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        pool_size=THREADS,
        enable_db_functions=True,
    )
    with datastore:
        recorder = PostgresApplicationRecorder(datastore)
        recorder.create_table()
        yield recorder


@contextmanager
def sqlite(file: Path) -> Iterator[Any]:
    from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

    datastore = SQLiteDatastore(str(file))
    try:
        recorder = SQLiteApplicationRecorder(datastore)
        recorder.create_table()
        yield recorder
    finally:
        datastore.close()


def stored(originator: UUID, first: int, count: int) -> list[Any]:
    from eventsourcing.persistence import StoredEvent

    return [
        StoredEvent(
            originator, version, "bench.orders:OrderPlaced", encode_event(ORDERS[version % len(ORDERS)])
        )
        for version in range(first, first + count)
    ]


async def append_rate(recorder: Any, count: int, batch: int, threads: int) -> float:
    """Events a second of `threads` threads that each insert `batch` events a call."""
    each = count // threads // batch
    lines = [
        [stored(originator, number * batch + 1, batch) for number in range(each)]
        for originator in (uuid4() for _ in range(threads))
    ]

    def insert(calls: Sequence[Sequence[Any]]) -> None:
        for call in calls:
            recorder.insert_events(call)

    with ThreadPoolExecutor(threads) as pool:
        loop = asyncio.get_running_loop()

        async def work() -> None:
            await asyncio.gather(*[loop.run_in_executor(pool, insert, calls) for calls in lines])

        return await rate(each * batch * threads, work)


async def read_rate(recorder: Any, count: int) -> float:
    """Events a second of one reader of the whole log in pages."""

    async def work() -> None:
        start, seen = 1, 0
        while page := recorder.select_notifications(start, PAGE):
            for notification in page:
                if notification.state:
                    seen += 1
            start = page[-1].id + 1
        assert seen == count, f"{seen} of {count} read"

    return await rate(count, work)
