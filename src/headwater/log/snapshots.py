"""State of a stream, now, at a version or at a time: a fold of its events, helped by snapshots.

A snapshot caches a fold at a version; it is never truth. It is used only when it was made by the same version of the
fold, and when the chain it names is still the chain of that event, so a snapshot from before a restore or an import is
passed over. One that does not decode is passed over too. A new one is taken when a read had to fold more than `every`
events past the last, after the answer is on its way; nobody waits for it, and losing it costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from headwater.errors import Trouble, Undecodable
from headwater.events.clock import to_us
from headwater.events.envelope import Recorded, Stream
from headwater.log.log import Log
from headwater.log.port import SnapshotRow

S = TypeVar("S")


@dataclass(frozen=True)
class Fold(Generic[S]):
    """How a stream's events become a state. Raise `version` when `apply` or the state's shape changes."""

    name: str
    state: type[S] | TypeAdapter[S]
    initial: S
    apply: Callable[[S, Recorded], S]
    version: int = 1


class Folded(NamedTuple, Generic[S]):
    """A state, and the version of the stream that it is the state of."""

    state: S
    version: int


class Folder:
    """Reads states, and keeps snapshots so that long streams stay quick to read."""

    def __init__(self, log: Log, *, every: int = 20, keep: int = 2) -> None:
        self._log, self._every, self._keep = log, every, keep
        self._saving: set[asyncio.Task[None]] = set()
        self._adapters: dict[int, tuple[Fold[Any], TypeAdapter[Any]]] = {}

    async def state(
        self,
        stream: Stream,
        fold: Fold[S],
        *,
        to_version: int | None = None,
        until: datetime | None = None,
        snapshots: bool = True,
        watch: Callable[[Recorded, S], None] | None = None,
    ) -> Folded[S]:
        """The state of a stream. `watch` is shown every event with the state after it."""
        start = await self._snapshot(stream, fold, to_version, until) if snapshots and watch is None else None
        state, version = start or Folded(fold.initial, 0)
        folded = 0
        last: Recorded | None = None
        async for last in self._log.stream(
            stream, from_version=version + 1, to_version=to_version, until=until
        ):
            state = fold.apply(state, last)
            folded += 1
            if watch is not None:
                watch(last, state)
        if last is not None and snapshots and folded > self._every:
            task = asyncio.create_task(self._save(stream, fold, last, state), name="headwater-snapshot")
            self._saving.add(task)
            task.add_done_callback(self._saving.discard)
        return Folded(state, last.version if last else version)

    async def settled(self) -> None:
        """Wait for the snapshots that are being taken."""
        if self._saving:
            await asyncio.wait(list(self._saving))

    async def _snapshot(
        self, stream: Stream, fold: Fold[S], to_version: int | None, until: datetime | None
    ) -> Folded[S] | None:
        row = await self._log.backend.load_snapshot(stream, fold.name, fold.version, to_version)
        if row is None:
            return None
        if until is not None and not await self._is_before(row, until):
            return None
        try:
            state = self._adapter(fold).validate_json(self._log.codec.decode(row.encoding, row.state))
        except (ValidationError, Undecodable):
            return None
        return Folded(state, row.version)

    async def _is_before(self, row: SnapshotRow, until: datetime) -> bool:
        events = self._log.stream(row.stream, from_version=row.version, to_version=row.version)
        return any([to_us(event.recorded_at) <= to_us(until) async for event in events])

    async def _save(self, stream: Stream, fold: Fold[S], at: Recorded, state: S) -> None:
        try:
            encoding, data, _ = self._log.codec.encode(self._adapter(fold).dump_json(state), None)
        except PydanticSerializationError:
            return  # a lone surrogate, which is data: such a state is folded anew each time
        row = SnapshotRow(stream, fold.name, fold.version, at.version, at.chain, encoding, data)
        with suppress(Trouble):  # a cache: the next read tries again
            await self._log.backend.save_snapshot(row, self._keep)

    def _adapter(self, fold: Fold[S]) -> TypeAdapter[S]:
        if isinstance(fold.state, TypeAdapter):
            return fold.state
        kept = self._adapters.get(id(fold))
        if kept is None:
            kept = self._adapters[id(fold)] = (
                fold,
                TypeAdapter(fold.state),
            )  # with the fold: its id stays its own
        return kept[1]
