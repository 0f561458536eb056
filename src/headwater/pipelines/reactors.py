"""Reactors: what is done because of events, outside the log. At least once for each event, with a stable key.

A reactor follows the log with a checkpoint of its own, kept where the states of projections are: one process holds
its lease, and another goes on where it stopped. Effects come first, then the checkpoint: what a crash leaves between is
done again under the same key. The events of one aggregate are reacted to in order, those of others side by side. One
that fails is tried again after a pause that doubles; the aggregate's later events wait behind it, others go on. After
`attempts` tries it is parked until `headwater projection redrive reactor:<pipeline>.<name>`.

The lease is renewed while effects take their time; whoever lost it nevertheless saves nothing. Whether an aggregate
waits is asked for those of a page, since only so many that wait are read at once. A row is at the event that failed, or
where the aggregate had caught up: it never goes back, since a store keeps the newer of two.

Events of others are passed without a write: the checkpoint follows when the log is quiet, and once a second. So a
reactor with nothing to do costs those who append next to nothing.

A rebuild of projections never touches a reactor: it has no states to rebuild, and what was done is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar
from uuid import uuid4

from headwater.errors import CheckpointMoved, HeadwaterError
from headwater.events.canonical import decode_json, encode_json
from headwater.events.clock import to_us
from headwater.events.envelope import Recorded, StoredRow, Stream
from headwater.events.model import Event, type_name
from headwater.events.names import check_name
from headwater.log.log import Log
from headwater.log.port import Query
from headwater.projections.open import store_for
from headwater.projections.stores import LATER, NOT_ASKED, Checkpoint, Key, StateRow, Store, said
from headwater.telemetry.loops import Loops

T = TypeVar("T")
LOGGER: Final = logging.getLogger("headwater.pipelines")
_ROUND: Final = 1.0
_QUIET: Final = 0.1
_BREATH: Final = 0.01
_PAGE: Final = 200
_WAITING: Final = 10_000
"""As many that failed are looked at in a round; those that are given up come last."""


class Reaction(NamedTuple):
    """What a reactor is told of the event: its envelope, a key that is the same on each try, and which try this is."""

    recorded: Recorded
    key: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Reactor:
    """Something to do for each event of some types. `since`: events recorded before are passed over."""

    name: str
    events: tuple[type[Event], ...]
    react: Callable[[Any, Reaction], Awaitable[object]]
    attempts: int = 5
    backoff: float = 0.5
    max_backoff: float = 60.0
    concurrency: int = 16
    since: datetime | None = None

    def __post_init__(self) -> None:
        check_name("reactor", self.name)


def checkpoint_of(pipeline: str, reactor: str) -> str:
    return f"reactor:{pipeline}.{reactor}"


class Reacting:
    """The part of a worker that runs one reactor."""

    def __init__(
        self,
        log: Log,
        pipeline: str,
        aggregate_type: str,
        reactor: Reactor,
        *,
        lease: float = 10.0,
        store: Store | None = None,
    ) -> None:
        self._log, self._reactor, self._store = log, reactor, store or store_for(log)
        self.name = checkpoint_of(pipeline, reactor.name)
        self._keys = f"{pipeline}.{reactor.name}"
        self._lease_us, self._taken = int(lease * 1_000_000), 0.0
        self._holder = f"reactor-{uuid4()}"
        self._types = tuple(type_name(model) for model in reactor.events)
        self._type = aggregate_type
        self._gate = asyncio.Semaphore(reactor.concurrency)
        self._loops = Loops(LOGGER, passing=CheckpointMoved)  # it was asked to look again, or another has it
        for model in reactor.events:
            log.registry.add(model)

    @property
    def progress(self) -> Mapping[str, float]:
        return self._loops.progress

    @property
    def failing(self) -> Mapping[str, str]:
        return self._loops.failing

    async def start(self) -> None:
        await self._store.create(self.name, 1, 1, live=True)
        self._loops.begin(self.name, self._round, f"Reactor {self.name} stands still")

    async def stop(self) -> None:
        await self._loops.stop()
        with suppress(HeadwaterError):
            await self._store.release(self.name, 1, self._holder)
        self._loops.progress.clear()

    def _went(self) -> None:
        self._loops.went(self.name)

    async def _round(self) -> None:
        """What is due of the parked, then the pages that come within a second; one checkpoint for all that passes."""
        clock = asyncio.get_running_loop().time
        at = await self._take()
        if at is None or at.paused:
            await asyncio.sleep(_ROUND / 2)
            return
        parked = list(await self._store.parked(self.name, 1, limit=_WAITING))
        now = await self._log.backend.now_us()
        due = [row for row in parked if row.asked or _Tries.of(row).due <= now]
        if due:
            async with self._held():
                again = await _all([self._again(row, at) for row in due])
            at = await self._save(at, at.position, again)
        soonest = now if due else min((_Tries.of(row).due for row in parked), default=_NEVER)
        until = clock() + min(_ROUND, self._lease_us / 3_000_000, (soonest - now) / 1_000_000)
        seen, looked = at.position, False
        while not looked or clock() < until:
            looked = True
            page = await self._log.backend.read(
                Query(after=seen, limit=_PAGE, types=self._types, stream_types=(self._type,))
            )
            seen = max(seen, page.seen)
            if page.rows:
                async with self._held():
                    failed = await self._page(await self._log.fill(page.rows))
                at = await self._save(at, seen, failed)
                if failed:
                    return
            self._went()
            quiet = page.done and await self._quiet(seen, until if seen == at.position else clock() + _QUIET)
            if quiet and seen > at.position:
                at = await self._save(at, seen, [])
        if seen > at.position:
            await self._save(at, seen, [])

    async def _take(self) -> Checkpoint | None:
        """Take or keep the lease, and know since when: some of it is over before a page is read."""
        self._taken = asyncio.get_running_loop().time()
        return await self._store.take(self.name, 1, self._holder, self._lease_us)

    async def _quiet(self, seen: int, until: float) -> bool:
        """Whether the log does not go on until then."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._log.beyond(seen)
                await asyncio.sleep(_BREATH)  # where it is busy with other things, not for each of them
                return False
        return True

    async def _save(self, at: Checkpoint, position: int, rows: Sequence[StateRow]) -> Checkpoint:
        """Move the checkpoint. Where somebody has asked something meanwhile, it is still ours to move: a key that has
        failed again is then tried again, since they may have asked after what it failed of was mended."""
        try:
            return await self._store.save(at, position, rows)
        except CheckpointMoved:
            now = await self._take()
            if now is None or now.position != at.position:
                raise
            there = await self._store.load(self.name, 1, [Key(row.tenant, row.key) for row in rows])
            asked = {key: row.again for key, row in there.items() if row.asked}
            still = [
                row._replace(again=asked.get(Key(row.tenant, row.key), row.again)) if row.parked else row
                for row in rows
            ]
            return await self._store.save(now, position, still)

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None]:
        """Keep the lease while effects take their time: else another would do the same ones meanwhile."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(
                    self._taken + self._lease_us / 3_000_000 - asyncio.get_running_loop().time()
                )
                self._went()
                with suppress(HeadwaterError):
                    await self._take()

        renewing = asyncio.create_task(renew(), name=f"headwater-{self.name}-lease")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _page(self, rows: Sequence[StoredRow]) -> list[StateRow]:
        """React to a page, key by key; the rows of those that have failed. Those that wait are passed over."""
        since = 0 if self._reactor.since is None else to_us(self._reactor.since)
        groups: dict[Key, list[Recorded]] = {}
        for row in rows:
            recorded = Recorded(row, self._log.decoder)
            if row[10] >= since:
                groups.setdefault(Key(recorded.tenant, recorded.stream.id), []).append(recorded)
        for key, there in (await self._store.load(self.name, 1, list(groups))).items():
            if there.parked:
                del groups[key]
        failed = await _all([self._in_order(key, events) for key, events in groups.items()])
        return [row for row in failed if row is not None]

    async def _in_order(self, key: Key, events: Sequence[Recorded]) -> StateRow | None:
        for recorded in events:
            error = await self._react(recorded, 1)
            if error is not None:
                return await self._park(StateRow(*key, 0, None), recorded, error, 1)
        return None

    async def _again(self, row: StateRow, at: Checkpoint) -> StateRow:
        """A key that failed: from the event that it failed at up to the checkpoint."""
        tries = 0 if row.asked else _Tries.of(row).tries
        row = row._replace(again=NOT_ASKED)
        if not row.parked:
            return row
        async for recorded in self._log.stream(Stream(self._type, row.key, row.tenant)):
            if row.parked <= recorded.position <= at.position and recorded.type in self._types:
                tries += 1
                error = await self._react(recorded, tries)
                if error is not None:
                    return await self._park(row, recorded, error, tries)
                tries = 0
        return row._replace(parked=0, error="", state=None, position=at.position)

    async def _react(self, recorded: Recorded, attempt: int) -> Exception | None:
        async with self._gate:
            self._went()
            try:
                await self._reactor.react(
                    recorded.event, Reaction(recorded, f"{self._keys}/{recorded.id}", attempt)
                )
            except Exception as error:  # noqa: BLE001  (it is this key's)
                return error
            return None

    async def _park(self, row: StateRow, recorded: Recorded, error: Exception, tries: int) -> StateRow:
        reactor = self._reactor
        pause = min(reactor.backoff * 2 ** (tries - 1), reactor.max_backoff)
        due = await self._log.backend.now_us() + int(pause * 1_000_000)
        given_up = tries >= reactor.attempts
        left = _Tries(tries, _NEVER if given_up else due)
        where = recorded.position
        state = encode_json(left._asdict(), self.name)
        again = NOT_ASKED if given_up else LATER
        return row._replace(position=where, parked=where, error=said(error), state=state, again=again)


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Side by side, to the end of each. Were one that fails to end the round, the others would go on beside the next,
    and after a stop."""
    ended = await asyncio.gather(*work, return_exceptions=True)
    for one in ended:
        if isinstance(one, BaseException):
            raise one
    return [one for one in ended if not isinstance(one, BaseException)]


_NEVER: Final = 2**62


class _Tries(NamedTuple):
    """How often an event was tried, and when it is again."""

    tries: int
    due: int

    @classmethod
    def of(cls, row: StateRow) -> _Tries:
        return cls(**decode_json(row.state)) if row.state else cls(0, 0)
