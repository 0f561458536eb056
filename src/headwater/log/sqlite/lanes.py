"""The connections of an open log, and what is bound to them.

One writes, one reads (so that no read waits for a writer), one checkpoints. A fourth does a program's own
transactions and imports: the authorizer of the one and the long transaction of the other must not touch the first.
Each is opened at its first job.
"""

from __future__ import annotations

from pathlib import Path

from headwater.events.clock import Clock
from headwater.log.sqlite.append import Appender
from headwater.log.sqlite.checkpoint import Checkpoints
from headwater.log.sqlite.connections import Lane
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.hints import FileHints
from headwater.log.sqlite.opening import connect


class Lanes:
    """What an open log holds."""

    def __init__(
        self, path: Path, clock: Clock, *, patience: float, in_thread: bool | None, hint_sockets: bool
    ) -> None:
        def watched() -> Database:
            connection = connect(path)
            self.checkpoints.watch(connection)
            return connection

        self.writer = Lane(path, watched, patience=patience, in_thread=in_thread)
        self.reader = Lane(path, lambda: connect(path), patience=patience, in_thread=in_thread)
        self.program = Lane(path, watched, patience=patience, in_thread=in_thread)
        own = Lane(path, lambda: connect(path), patience=patience, in_thread=True)
        self.checkpoints = Checkpoints(self.writer, own)
        self.appender = Appender(clock)
        self.hints = FileHints(path, self._data_version, sockets=hint_sockets)
        self._all = (own, self.program, self.reader, self.writer)

    async def _data_version(self) -> int:
        return await self.reader.run(lambda connection: connection.pragma("data_version"))

    async def close(self) -> None:
        self.hints.close()
        await self.checkpoints.close()
        for lane in self._all:
            await lane.close()

    def abandon(self) -> None:
        """Let go of everything at once, as the death of the process would."""
        for lane in self._all:
            lane.abandon()
