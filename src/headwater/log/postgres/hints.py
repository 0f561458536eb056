"""Hints: LISTEN and NOTIFY, outside the append's transaction.

NOTIFY inside an append would put every commit into the queue for the server's one notification lock. So a batch is
announced after it has committed, on another connection, one announcement at a time: what is appended meanwhile goes
with the next, which is not sooner than a few milliseconds later. A hint that is lost costs one poll and nothing else,
so every failure here is forgotten.

LISTEN needs a session of its own: past a pooler, a direct address is needed, else there are no hints to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg

from headwater.errors import HeadwaterError
from headwater.log.postgres.connections import CONNECT_TIMEOUT, Connections
from headwater.log.postgres.statements import queries
from headwater.log.postgres.trouble import DRIVER_ERRORS

CHANNEL: Final = "headwater_log"
_APART: Final = 0.005
_RETRY: Final = 1.0


class PostgresHints:
    """Tells other processes that the log has grown, and is told."""

    def __init__(self, connections: Connections, direct_url: str | None) -> None:
        self._connections, self._direct_url = connections, direct_url
        self._latest: dict[int, int] = {}
        self._announcing: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()

    def announce(self, shard: int, position: int) -> None:
        """Tell the others, soon."""
        self._latest[shard] = max(position, self._latest.get(shard, 0))
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.create_task(self._announce(), name="headwater-announce")

    async def _announce(self) -> None:
        while self._latest:
            latest, self._latest = self._latest, {}
            for shard, position in latest.items():
                with suppress(HeadwaterError):
                    await self._connections.fetch_any(queries()["announce"], f"{shard}:{position}")
            await asyncio.sleep(_APART)

    async def wait(self, timeout: float) -> None:
        """Return when there was a hint since the last call, or after `timeout` seconds."""
        if self._listening is None and (self._direct_url or not self._connections.access.pooled):
            self._listening = asyncio.create_task(self._listen(), name="headwater-listen")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), timeout)
        self._heard.clear()

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
            self._heard.set()  # there may have been hints before we listened
            await gone.wait()
        finally:
            connection.terminate()

    def _hear(self, *_: object) -> None:
        self._heard.set()

    async def close(self) -> None:
        tasks: Sequence[asyncio.Task[None]] = [t for t in (self._announcing, self._listening) if t]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._announcing = self._listening = None
