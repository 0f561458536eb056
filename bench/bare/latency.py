"""The least that tells another process of a row: commit it, send a hint, read what is new."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import asyncpg

from bench.bare.sqlite import connect

_POLL = 0.25


@asynccontextmanager
async def bare_sender(backend: str, address: str) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """A function that stores a number of nanoseconds and hints at it."""
    create = "CREATE TABLE IF NOT EXISTS bare_sent (position {} PRIMARY KEY, at bigint NOT NULL)"
    if backend == "postgres":
        connection, notifier = await asyncpg.connect(address), await asyncpg.connect(address)
        await connection.execute(create.format("bigserial"))

        async def send(at: int) -> None:
            await connection.execute("INSERT INTO bare_sent (at) VALUES ($1)", at)
            await notifier.execute("SELECT pg_notify('bare', '')")

        try:
            yield send
        finally:
            await connection.close()
            await notifier.close()
    else:
        file = connect(Path(address))
        file.execute(create.format("INTEGER"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hinter:

            async def send_sqlite(at: int) -> None:
                file.execute("INSERT INTO bare_sent (at) VALUES (?)", (at,))
                with suppress(OSError):
                    hinter.sendto(b"!", f"{address}.hint")

            yield send_sqlite
        file.close()


def bare_arrivals(backend: str, address: str, *, hints: bool) -> AsyncIterator[int | None]:
    """None when it follows, then each number that is stored."""
    return _postgres(address, hints=hints) if backend == "postgres" else _sqlite(Path(address), hints=hints)


async def _postgres(url: str, *, hints: bool) -> AsyncIterator[int | None]:
    came = asyncio.Event()
    connection = await asyncpg.connect(url)
    if hints:
        await connection.add_listener("bare", lambda *_: came.set())
    after = await connection.fetchval("SELECT coalesce(max(position), 0) FROM bare_sent")
    yield None
    while True:
        came.clear()
        for position, at in await connection.fetch(
            "SELECT position, at FROM bare_sent WHERE position > $1 ORDER BY position", after
        ):
            after = position
            yield at
        await _hint(came)


async def _sqlite(path: Path, *, hints: bool) -> AsyncIterator[int | None]:
    came = asyncio.Event()
    file = connect(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        if hints:
            hint = path.with_name(f"{path.name}.hint")
            hint.unlink(missing_ok=True)
            listener.bind(str(hint))

            def read() -> None:
                listener.recv(16)
                came.set()

            asyncio.get_running_loop().add_reader(listener, read)
        after: object = file.execute("SELECT coalesce(max(position), 0) FROM bare_sent").get
        yield None
        while True:
            came.clear()
            for position, at in file.execute(
                "SELECT position, at FROM bare_sent WHERE position > ? ORDER BY position", (after,)
            ).fetchall():
                after = position
                yield cast(int, at)
            await _hint(came)


async def _hint(came: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_POLL):
            await came.wait()
