"""Hints over Redis Streams, in place of the backend's own.

Promise. Redis carries hints and never truth. Whatever becomes of it (not there, dropped, restarted empty, slow, a wrong
password, full of lies) costs polls and a warning in the log; no append waits for it, and no error comes of it.

How. Each log has one short stream, named by its incarnation. After a commit the position goes into it, in the
announcer's pace. Each process that waits reads through a consumer group of its own: the server then knows who listens
(`XINFO GROUPS`) and how far behind, and nobody takes a hint from anybody. The group is made at the first wait and
destroyed at the end. For a process that cannot do that any more there is a key beside its group, which it renews and
which expires: who renews its own removes the groups that have none. A process that was only stopped for long finds its
group gone and makes it again.

Whenever a group is made there may have been hints before it: that counts as one without a position.

Why the position is in the message. It saves those who wait a look at the tail before they read: `log.live` has them
read at once when it is past what they know, and look at nothing when it is not, and it is correct for positions that
are wrong in any way, so that this file need not judge them.

Rejected: PUBLISH and SUBSCRIBE, which would lose what is sent during a reconnect, so that each costs a poll where here
the group still has its place; one group for all, which would give each hint to a single process; falling back to the
backend's hints while Redis is away, which every process would have to notice at once, to save a poll.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any, Final, cast
from uuid import UUID, uuid4

from headwater.errors import NotSupported, SettingRefused
from headwater.log.announcer import Announcer
from headwater.log.heard import Heard, say
from headwater.settings import redacted

LOGGER: Final = logging.getLogger("headwater.log.redis")
_KEPT: Final = 100
_PATIENCE: Final = 1.0
_BLOCK: Final = 2.0
_RENEW: Final = 20.0
_ALIVE: Final = 90
_KEEP_STREAM: Final = 24 * 3600
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_QUIET: Final = 60.0


class RedisHints:
    """Tells other processes that a log has grown, and is told."""

    def __init__(self, url: str, *, random: Random | None = None) -> None:
        self._shown = redacted(url)
        self._random = random or Random()
        self._heard = Heard()
        self._announcer = Announcer(self._tell)
        self._listening: asyncio.Task[None] | None = None
        self._group = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._stream = self._prefix = ""
        self._grouped = False
        self._ill: set[str] = set()
        self._warned_at = -_QUIET
        self._tell_again_at = 0.0
        self._writer = _client(url, _PATIENCE)
        self._reader = _client(url, _PATIENCE + _BLOCK)

    def open(self, incarnation: UUID) -> None:
        """Carry the hints of this log."""
        # the braces keep the keys of a log on one node of a cluster
        prefix = f"headwater:{{{incarnation}}}:"
        if prefix != self._prefix:
            self._prefix, self._stream = prefix, f"{prefix}hints"
            self._grouped = False

    def announce(self, shard: int, position: int) -> None:
        """Tell the others, soon."""
        self._announcer.announce(shard, position)

    async def wait(self, timeout: float) -> int | None:
        """Return when hinted, or after `timeout` seconds."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="headwater-redis-hints")
        return await self._heard.wait(timeout)

    # Telling

    async def _tell(self, shard: int, position: int) -> None:
        if asyncio.get_running_loop().time() < self._tell_again_at:
            return
        said = {"at": say(shard, position)}

        def add() -> Awaitable[object]:  # where there is no stream, nobody listens
            return cast(
                Awaitable[object], self._writer.xadd(self._stream, said, maxlen=_KEPT, nomkstream=True)
            )

        if not await self._try("telling", add):
            self._tell_again_at = asyncio.get_running_loop().time() + _LONGEST_PAUSE

    # Hearing

    async def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            if await self._try("listening", self._hear_next):
                pause = _FIRST_PAUSE
            else:
                self._grouped = False
                await asyncio.sleep(pause * (0.5 + self._random.random()))
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _hear_next(self) -> None:
        """Have a group that is known to be alive, and hear for a while what comes."""
        now = asyncio.get_running_loop().time
        await self._renew()
        until = now() + _RENEW
        while self._grouped and now() < until:
            found = await self._reader.xreadgroup(
                self._group,
                self._group,
                {self._stream: ">"},
                count=_KEPT,
                block=int(_BLOCK * 1000),
                noack=True,
            )
            for _, messages in found:
                for _, fields in messages:
                    self._heard.hear_said(str(fields.get("at")))
            self._is_well("listening")

    async def _renew(self) -> None:
        """Say that this process is alive, make its group if there is none, and remove those of the dead."""
        await self._reader.set(self._key(self._group), 1, ex=_ALIVE)
        groups = await self._groups()
        if self._group not in groups:
            await self._reader.xgroup_create(self._stream, self._group, "$", mkstream=True)
            self._heard.hear()
        await self._reader.expire(self._stream, _KEEP_STREAM)
        for group in groups:
            if group != self._group and not await self._reader.exists(self._key(group)):
                await self._reader.xgroup_destroy(self._stream, group)
        self._grouped = True
        self._tell_again_at = 0.0

    async def _groups(self) -> list[str]:
        if not await self._reader.exists(self._stream):
            return []
        return [str(group["name"]) for group in await self._reader.xinfo_groups(self._stream)]

    def _key(self, group: str) -> str:
        return f"{self._prefix}alive:{group}"

    # Trouble

    async def _try(self, what: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Whether it went well. If not, the connection is dropped, and said so once."""
        client = self._writer if what == "telling" else self._reader
        try:
            await work()
        except Exception as error:  # noqa: BLE001  (hints may fail in every way, and nobody else may)
            self._is_ill(what, error)
            with suppress(Exception):
                await client.connection_pool.disconnect()
            return False
        self._is_well(what)
        return True

    def _is_ill(self, what: str, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if not self._ill and now - self._warned_at >= _QUIET:
            self._warned_at = now
            LOGGER.warning(
                "Redis at %s carries no hints: %s. Nothing is lost, the log is polled until it is back.",
                self._shown,
                f"{type(error).__name__}: {error}",
            )
        self._ill.add(what)

    def _is_well(self, what: str) -> None:
        if what in self._ill:
            self._ill.remove(what)
            if not self._ill:
                LOGGER.info("Redis at %s carries hints again.", self._shown)

    async def close(self) -> None:
        """Leave nothing behind, as far as Redis lets us."""
        await self._announcer.close()
        if self._listening is not None:
            while not self._listening.done():  # the library may swallow a cancellation while it connects
                self._listening.cancel()
                await asyncio.wait([self._listening], timeout=0.1)
            self._listening = None
        if self._grouped:
            self._grouped = False
            with suppress(Exception):
                await self._writer.xgroup_destroy(self._stream, self._group)
                await self._writer.delete(self._key(self._group))
        for client in (self._writer, self._reader):
            with suppress(Exception):
                await client.aclose()


def _client(url: str, patience: float) -> Any:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise NotSupported(
            "HEADWATER_REDIS_URL is set and the library for Redis is not installed. pip install 'headwater[redis]', "
            "or unset it."
        ) from error
    library: Any = Redis
    try:
        return library.from_url(
            url,
            decode_responses=True,
            protocol=2,
            socket_connect_timeout=_PATIENCE,
            socket_timeout=patience,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        wanted = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss://... or unix://..."
        raise SettingRefused("HEADWATER_REDIS_URL", redacted(url), wanted) from error
