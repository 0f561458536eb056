"""What other processes do in these tests: `python -m tests.integration.sqlite.process WHAT FILE ...`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

from headwater.errors import HeadwaterError
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.sqlite.backend import SqliteBackend
from headwater.log.write import Write


async def append(path: Path, name: str, count: str) -> None:
    """Append as quickly as can be from four callers; say each position that was acknowledged."""
    async with Log(SqliteBackend(path)) as log:

        async def caller(number: int) -> None:
            for index in range(int(count)):
                event = RawEvent("test.appended", {"by": name, "index": index})
                (appended,) = await log.append(Write(Stream("writer", f"{name}-{number}"), [event]))
                print(appended.position, flush=True)

        await asyncio.gather(*[caller(number) for number in range(4)])


async def read(path: Path, expected: str) -> None:
    """Follow the log from its start, and stop with an error if a position is missing or comes twice."""
    async with Log(SqliteBackend(path)) as log:
        position = 0
        async for recorded in log.subscribe():
            position += 1
            if recorded.position != position:
                sys.exit(f"position {recorded.position} came after {position - 1}")
            if position == int(expected):
                return


async def follow(path: Path, count: str, sockets: str) -> None:
    """Say how many milliseconds after its appending each event came; `ready` when listening."""
    backend = SqliteBackend(path, hint_sockets=sockets == "sockets")
    async with Log(backend) as log:
        head = await log.head()
        print("ready", flush=True)
        seen = 0
        async for recorded in log.subscribe(head):
            print((time.monotonic() - recorded.data["at"]) * 1000, flush=True)
            seen += 1
            if seen == int(count):
                return


async def begin(folder: Path, count: str) -> None:
    """Open a log that may not be there yet, each time a line comes; say how that went."""
    for number in range(int(count)):
        sys.stdin.readline()
        backend = SqliteBackend(folder / f"{number}.db")
        print(await _name_of_error(backend.open()), flush=True)
        await backend.close()


async def hold(path: Path) -> None:
    """Hold the write lock until a line comes."""
    import apsw

    connection = apsw.Connection(str(path))
    connection.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    sys.stdin.readline()
    connection.execute("COMMIT")
    connection.close()


async def fork(path: Path) -> None:
    """Use a log in a forked child, and open its file there; say what became of it."""
    log = Log(SqliteBackend(path))
    async with log:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            said = [
                await _name_of_error(log.backend.tail(0)),
                await _name_of_error(SqliteBackend(path).open()),
            ]
            os.write(writing, " ".join(said).encode())
            os._exit(0)
        os.waitpid(child, 0)
        print(os.read(reading, 1000).decode(), flush=True)
        await log.append(Write(Stream("order", "1"), [RawEvent("order.placed", 1)]))


async def _name_of_error(what: Awaitable[object]) -> str:
    try:
        await what
    except HeadwaterError as error:
        return type(error).__name__
    return "nothing"


if __name__ == "__main__":
    what, file, *rest = sys.argv[1:]
    asyncio.run(globals()[what](Path(file), *rest))
