"""Backends with a mistake in who owns what: what the contract suite must be able to catch."""

from collections.abc import Mapping, Sequence
from typing import Any

from headwater.log.memory import MemoryBackend
from headwater.log.ownership import EntryRow, Swept, Taken, TakenReady, Woken, WorkerRow
from headwater.log.port import Call, Outcome
from headwater.log.side import ClearReady, PutReady, WithdrawReady
from tests.contract.faults import Altered


class GivesToStrangers(MemoryBackend):
    """Whoever asks is given."""

    async def take(self, holder: str, *rest: Any, **more: Any) -> Sequence[Taken]:
        known = dict(self._rows.workers)
        self._rows.workers[holder] = WorkerRow(holder, "here", 0, b"")
        taken = await super().take(holder, *rest, **more)
        self._rows.workers = known
        return taken


class StealsFromTheLate(MemoryBackend):
    """A lease that is over is as good as swept."""

    async def take(self, holder: str, *rest: Any, **more: Any) -> Sequence[Taken]:
        await self.sweep()
        return await super().take(holder, *rest, **more)


class NewestFirst(MemoryBackend):
    """Who has waited longest waits on."""

    async def take(self, *rest: Any, **more: Any) -> Sequence[Taken]:
        for fence in self._rows.fenced.values():
            fence.woken_at = -fence.woken_at
        taken = await super().take(*rest, **more)
        for fence in self._rows.fenced.values():
            fence.woken_at = -fence.woken_at
        return taken


class TakesWithoutLooking(MemoryBackend):
    """What was there when a fence was taken is told again."""

    async def take(self, *rest: Any, **more: Any) -> Sequence[Taken]:
        taken = await super().take(*rest, **more)
        for row in taken:
            self._rows.fenced[row.tenant, row.key].seen -= 1
        return taken


class TellsTwice(MemoryBackend):
    """Wakes that were told are not seen."""

    async def woken(self, holder: str, limit: int = 1000) -> Sequence[Woken]:
        found = await super().woken(holder, limit)
        for row in found:
            self._rows.fenced[row.tenant, row.key].seen -= 1
        return found


class PassesNobodyOver(MemoryBackend):
    """The tenants to be left out are not."""

    async def take(self, *rest: Any, without: Sequence[str] = (), **more: Any) -> Sequence[Taken]:
        return await super().take(*rest, **more)


class MixesTrials(MemoryBackend):
    """Suspects are taken as they come."""

    async def take(self, *rest: Any, suspects: bool = False, **more: Any) -> Sequence[Taken]:
        trials = {name: fence.trial for name, fence in self._rows.fenced.items()}
        if suspects:
            for fence in self._rows.fenced.values():
                fence.trial = min(fence.trial, 1) * max(trials.values())
        taken = await super().take(*rest, suspects=suspects, **more)
        for name, trial in trials.items():
            self._rows.fenced[name].trial = trial
        return taken


class Sweeping(MemoryBackend):
    """Does something to the fences that a sweep has freed."""

    def after(self, was: Any, fence: Any, left: Sequence[str]) -> None:
        raise NotImplementedError

    async def sweep(self, dead: Sequence[str] = (), left: Sequence[str] = ()) -> Swept:
        before = self._rows.copy().fenced
        swept = await super().sweep(dead, left)
        for name, fence in self._rows.fenced.items():
            if before[name].holder and not fence.holder:
                self.after(before[name], fence, left)
        return swept


class FreesWithoutRaising(Sweeping):
    def after(self, was: Any, fence: Any, left: Sequence[str]) -> None:
        fence.epoch = was.epoch


class FreesWithoutWaking(Sweeping):
    def after(self, was: Any, fence: Any, left: Sequence[str]) -> None:
        fence.wakes = was.wakes


class WaitsAnew(Sweeping):
    def after(self, was: Any, fence: Any, left: Sequence[str]) -> None:
        fence.woken_at = self._clock.now_us()


class SuspectsWhoeverLeft(Sweeping):
    def after(self, was: Any, fence: Any, left: Sequence[str]) -> None:
        fence.trial = fence.trial or 1


class TriesAllAgain(Sweeping):
    def after(self, was: Any, fence: Any, left: Sequence[str]) -> None:
        fence.trial = was.trial or fence.trial


class CountsEveryDeath(Sweeping):
    def after(self, was: Any, fence: Any, left: Sequence[str]) -> None:
        fence.deaths = was.deaths + 1


class TakesBeforeItIsDue(MemoryBackend):
    """Ready rows are taken whenever."""

    async def take_ready(self, holder: str, wanted: Mapping[str, int]) -> Sequence[TakenReady]:
        for name, row in self._rows.ready.items():
            self._rows.ready[name] = row._replace(at=0)
        return await super().take_ready(holder, wanted)


class OneLimitForAll(MemoryBackend):
    async def take_ready(self, holder: str, wanted: Mapping[str, int]) -> Sequence[TakenReady]:
        return await super().take_ready(holder, dict.fromkeys(wanted, max(wanted.values(), default=0)))


class ClaimsBeginAnew(MemoryBackend):
    """A row that is put again is a new row."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        outcomes = await super().append(shard, calls)
        for row in (row for call in calls for write in call.writes for row in write.side):
            if isinstance(row, PutReady) and ("default", row.queue, row.key) in self._rows.ready:
                name = "default", row.queue, row.key
                self._rows.ready[name] = self._rows.ready[name]._replace(claim=0)
        return outcomes


class BelievesOldClaims(Altered):
    def alter(self, call: Call) -> Call:
        return _changed(call, _unclaimed)


class WithdrawsWhatWasBegun(Altered):
    def alter(self, call: Call) -> Call:
        return _changed(
            call,
            lambda row: (
                ClearReady(row.queue, row.key, missing_ok=True) if isinstance(row, WithdrawReady) else row
            ),
        )


class ForgetsTheFirstTime(MemoryBackend):
    """An entry has the time when it was replaced."""

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        before = dict(self._rows.entries)
        outcomes = await super().append(shard, calls)
        now = self._clock.now_us()
        for name, entry in self._rows.entries.items():
            if before.get(name) != entry:
                self._rows.entries[name] = entry._replace(at=now)
        return outcomes


class PagesWithTheLast(MemoryBackend):
    """A page begins with the last entry of the page before."""

    async def entries(
        self, *args: Any, before: tuple[int, str] | None = None, **more: Any
    ) -> Sequence[EntryRow]:
        place = None if before is None else (before[0], before[1] + "\0")
        return await super().entries(*args, before=place, **more)


def _unclaimed(row: Any) -> Any:
    match row:
        case ClearReady(queue, key, missing_ok):
            return ClearReady(queue, key, missing_ok)
        case PutReady(queue, key, data, priority, at):
            return PutReady(queue, key, data, priority, at)
        case _:
            return row


def _changed(call: Call, change: Any) -> Call:
    return call._replace(writes=tuple([w._replace(side=tuple(map(change, w.side))) for w in call.writes]))
