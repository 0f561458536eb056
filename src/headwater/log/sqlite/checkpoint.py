"""Moving the write-ahead log into the file, out of everybody's way.

SQLite would do it inside the commit that finds 1,000 pages in the WAL, and that commit would wait for all of it. Here
a connection of its own moves them in a thread, while appends and reads go on. What was appended meanwhile is little;
the writer moves that between two batches, and so the WAL starts again at its beginning. That matters: a commit into a
WAL that grows was measured at 260 microseconds, one into space that the file has already at 130, since the first must
also record the file's new size. A checkpoint that never catches up with the writer would let it grow for ever.

A reader that keeps an old snapshot stops both from moving what it may still need. They try again after every further
`STEP` pages, which is cheap, and appends go on at the pace of a growing file; when the reader is gone, the WAL is cut
back to `journal_size_limit`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import apsw

from headwater.errors import HeadwaterError
from headwater.log.sqlite.connections import Lane
from headwater.log.sqlite.database import Database

STEP: Final = 1_000


class Checkpoints:
    """Decides when, and has it done."""

    def __init__(self, writer: Lane, own: Lane) -> None:
        self._writer, self._own = writer, own
        self._pages = 0
        self._next = STEP
        self._task: asyncio.Task[None] | None = None

    def watch(self, connection: Database) -> None:
        """Note the WAL's length after each commit of a connection."""
        connection.set_wal_hook(self._grown)

    def _grown(self, _: object, __: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def after_commit(self) -> None:
        """Start a checkpoint when it is time."""
        if self._pages < STEP:
            self._next = STEP
        elif self._pages >= self._next and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="headwater-checkpoint")

    async def _run(self) -> None:
        try:
            with suppress(HeadwaterError):  # the next one will try again
                await self._own.run(_checkpoint, big=True)
                await self._writer.run(_checkpoint, big=True)
        finally:
            self._next = self._pages + STEP
            self._task = None

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])


def _checkpoint(connection: Database) -> None:
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
