"""Hints: LISTEN and NOTIFY, outside the append's transaction.

NOTIFY inside an append would put every commit into the queue for the server's one notification lock. So a batch is
announced after it has committed, on another connection, in the announcer's pace. A hint that is lost costs one poll
and nothing else, so every failure here is forgotten.

LISTEN needs a session of its own: past a pooler, a direct address is needed, else there are no hints to wait for.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import asyncpg

from headwater.errors import HeadwaterError
from headwater.log.announcer import Announcer
from headwater.log.heard import Heard, say
from headwater.log.postgres.connections import CONNECT_TIMEOUT, Connections
from headwater.log.postgres.statements import queries
from headwater.log.postgres.trouble import DRIVER_ERRORS

CHANNEL: Final = "headwater_log"
_RETRY: Final = 1.0


class PostgresHints:
    """Tells other processes that the log has grown, and is told."""

    def __init__(self, connections: Connections, direct_url: str | None) -> None:
        self._connections, self._direct_url = connections, direct_url
        self._announcer = Announcer(self._notify)
        self._heard = Heard()
        self._listening: asyncio.Task[None] | None = None

    def announce(self, shard: int, position: int) -> None:
        """Tell the others, soon."""
        self._announcer.announce(shard, position)

    async def _notify(self, shard: int, position: int) -> None:
        with suppress(HeadwaterError):
            await self._connections.fetch_any(queries()["announce"], say(shard, position))

    async def wait(self, timeout: float) -> int | None:
        """Return when hinted, or after `timeout` seconds."""
        if self._listening is None and (self._direct_url or not self._connections.access.pooled):
            self._listening = asyncio.create_task(self._listen(), name="headwater-listen")
        return await self._heard.wait(timeout)

    async def _listen(self) -> None:
        while True:
            with suppress(*DRIVER_ERRORS):
                await self._listen_once()
            await asyncio.sleep(_RETRY)

    async def _listen_once(self) -> None:
        connection: Any = await asyncpg.connect(
            self._direct_url or self._connections.url, timeout=CONNECT_TIMEOUT, statement_cache_size=0
        )
        gone = asyncio.Event()

        def ended(_: object) -> None:
            gone.set()

        try:
            connection.add_termination_listener(ended)
            await connection.add_listener(CHANNEL, self._hear)
            self._heard.hear()  # there may have been hints before we listened
            await gone.wait()
        finally:
            connection.terminate()

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        self._heard.hear_said(payload)

    async def close(self) -> None:
        await self._announcer.close()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            self._listening = None
