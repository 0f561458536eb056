"""States in Redis: for read models that are read more often than a database likes.

    states = RedisStates("redis://...")
    app.project(Projection("spent", ..., store=states))

Promise. That of every store (see `stores`). States and checkpoint lie in the same Redis, and each method that writes is
one script, which Redis runs alone. So a Redis that lost its last second lost states and checkpoint alike, and the
projector goes on from there; one that lost everything is filled again from the log. While it is away, projections lag.

Redis must not evict keys (`maxmemory-policy noeviction`): it would take states and leave the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cached_property, partial
from importlib.resources import files
from typing import Any, Final

from headwater.errors import CheckpointMoved, NotSupported, Trouble
from headwater.log.log import Log
from headwater.projections.current import in_use
from headwater.projections.stores import FROM_START, Checkpoint, Key, StateRow
from headwater.settings import redacted

_SCRIPT: Final = (files("headwater.projections") / "sql" / "redis.lua").read_text(encoding="utf-8")
_PATIENCE: Final = 5.0
_TRIES: Final = 3


class RedisStates:
    """A Redis that keeps states: what a projection's `store` takes. Close it when the program ends."""

    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def client(self) -> Any:
        try:
            from redis.asyncio import Redis
        except ImportError:
            raise NotSupported("States in Redis need its client: pip install 'headwater[redis]'.") from None
        client: Any = Redis
        return client.from_url(self._url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE)

    def __call__(self, log: Log) -> RedisStore:
        return RedisStore(self.client, f"headwater:{log.info.incarnation}:", redacted(self._url))

    async def close(self) -> None:
        if "client" in self.__dict__:
            await self.client.aclose()


class RedisStore:
    """The states of one log's projections."""

    def __init__(self, client: Any, prefix: str, shown: str) -> None:
        self._client, self._prefix, self._shown = client, prefix, shown
        self._script = client.register_script(_SCRIPT)

    async def checkpoints(self, name: str | None = None) -> Sequence[Checkpoint]:
        names = [name] if name is not None else sorted(n.decode() for n in await self._names())
        found: list[Checkpoint] = []
        for one in names:
            generations = partial(self._client.hvals, self._key(one, "generations"))
            kept = await self._ask(generations)
            found += sorted(_checkpoint(one, text) for text in kept)
        return found

    async def create(self, name: str, generation: int, version: int, *, live: bool) -> None:
        await self._ask(lambda: self._client.sadd(f"{self._prefix}projections", name))
        await self._do(name, "create", generation, version, int(live))

    async def take(self, name: str, generation: int, holder: str, lease_us: int) -> Checkpoint | None:
        text = await self._do(name, "take", generation, holder, max(1, lease_us // 1000))
        return None if text is None else _checkpoint(name, text)

    async def release(self, name: str, generation: int, holder: str) -> None:
        await self._do(name, "release", generation, holder)

    async def pause(self, name: str, *, paused: bool) -> bool:
        return await self._do(name, "pause", int(paused)) is not None

    async def swap(self, at: Checkpoint) -> bool:
        return await self._do(at.name, "swap", at.generation, at.epoch, at.position) is not None

    async def drop(self, name: str, generation: int) -> None:
        await self._do(name, "drop", generation)

    async def load(self, name: str, generation: int, keys: Sequence[Key]) -> dict[Key, StateRow]:
        rows = await self._rows(name, generation, [_member(key) for key in keys])
        return {Key(row.tenant, row.key): row for row in rows}

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        flat: list[Any] = []
        for row in rows:
            head = json.dumps([row.position, row.error]).encode()
            flat += [
                _member(Key(row.tenant, row.key)),
                head + b"\n" + (row.state or b""),
                row.parked,
                row.again,
            ]
        if await self._do(at.name, "save", at.generation, at.epoch, at.position, position, *flat) is None:
            raise CheckpointMoved(at.name)
        return at._replace(position=position)

    async def page(
        self, name: str, generation: int, after: Key | None = None, limit: int = 1000
    ) -> Sequence[StateRow]:
        begin = b"-" if after is None else b"(" + _member(after)
        order = self._key(name, "order", generation)
        members = await self._ask(lambda: self._client.zrangebylex(order, begin, "+", 0, limit))
        return await self._rows(name, generation, members)

    async def parked(self, name: str, generation: int, limit: int = 1000) -> Sequence[StateRow]:
        again = await self._ask(lambda: self._client.hkeys(self._key(name, "again", generation)))
        stopped = await self._ask(lambda: self._client.hkeys(self._key(name, "parked", generation)))
        members = [*sorted(again), *sorted(set(stopped) - set(again))]
        return await self._rows(name, generation, members[:limit])

    async def request(
        self, name: str, again: int, *, tenant: str | None = None, key: str | None = None
    ) -> int:
        if tenant is not None and key is not None:
            one = _member(Key(tenant, key))
            return int(await self._do(name, "request", again, b"[" + one, b"[" + one))
        if key is None:
            begin = b"-" if tenant is None else b"[" + tenant.encode() + b"\0"
            end = b"+" if tenant is None else b"(" + tenant.encode() + b"\1"
            return int(await self._do(name, "request", again, begin, end))
        tenants = await self._tenants(name, parked=again != FROM_START)
        return sum([await self.request(name, again, tenant=one, key=key) for one in tenants])

    async def _tenants(self, name: str, *, parked: bool) -> set[str]:
        """Whose states there are in the generation in use."""
        live = await in_use(self, name)
        if live is None:
            return set()
        kind = "parked" if parked else "state"
        members = await self._ask(lambda: self._client.hkeys(self._key(name, kind, live.generation)))
        return {_key(member).tenant for member in members}

    async def _rows(self, name: str, generation: int, members: Sequence[bytes]) -> list[StateRow]:
        """What is kept of these, as of one moment."""
        if not members:
            return []

        async def look() -> Any:
            async with self._client.pipeline(transaction=True) as pipe:
                for kind in ("state", "parked", "again"):
                    pipe.hmget(self._key(name, kind, generation), members)
                return await pipe.execute()

        states, parked, again = await self._ask(look)
        found = zip(members, states, parked, again, strict=True)
        return [_row(member, *row) for member, *row in found if row[0] is not None]

    async def _names(self) -> Iterable[bytes]:
        names: Iterable[bytes] = await self._ask(lambda: self._client.smembers(f"{self._prefix}projections"))
        return names

    async def _do(self, name: str, *arguments: Any) -> Any:
        return await self._ask(lambda: self._script([self._key(name, "generations")], arguments))

    async def _ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """A connection that died while it was idle is seen only now. Whatever is asked may be asked again."""
        from redis.exceptions import ConnectionError as Lost
        from redis.exceptions import RedisError

        for left in range(_TRIES - 1, -1, -1):
            try:
                return await ask()
            except (RedisError, OSError) as error:
                if not (left and isinstance(error, Lost)):
                    raise Trouble(
                        f"The states in {self._shown} cannot be reached: {error} They go on when Redis is back."
                    ) from error
        raise AssertionError

    def _key(self, name: str, kind: str, generation: int | None = None) -> str:
        """The braces keep what belongs to a projection on one node of a cluster."""
        return f"{self._prefix}{{{name}}}:{kind}" + ("" if generation is None else f":{generation}")


def _member(key: Key) -> bytes:
    """In the order of tenant and key; a tenant is an identifier and holds no NUL."""
    return key.tenant.encode() + b"\0" + key.key.encode()


def _key(member: bytes) -> Key:
    tenant, _, key = member.partition(b"\0")
    return Key(tenant.decode(), key.decode())


def _row(member: bytes, state: bytes, parked: bytes | None, again: bytes | None) -> StateRow:
    head, _, kept = state.partition(b"\n")
    position, error = json.loads(head)
    return StateRow(*_key(member), position, kept or None, int(parked or 0), error, int(again or 0))


def _checkpoint(name: str, text: bytes) -> Checkpoint:
    at = json.loads(text)
    parts = ("generation", "version", "live", "paused", "position", "epoch", "holder")
    return Checkpoint(name, *(at[part] for part in parts))
