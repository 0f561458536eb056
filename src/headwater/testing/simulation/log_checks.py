"""What must be true of a log beyond its invariants, given what it told the programs; judged at the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from headwater.events.clock import from_us
from headwater.events.envelope import Recorded, Stream
from headwater.log.log import Log
from headwater.log.port import Data
from headwater.testing.invariants import InvariantBroken
from headwater.testing.simulation.log_calls import FENCES, QUEUE, TENANTS
from headwater.testing.simulation.log_history import Follower, History


async def check(log: Log, history: History) -> None:
    """Raise for the first thing that is wrong."""
    events = [event async for event in log.read(data=Data.ALL)]
    _check_refused(events, history)
    _check_calls(events)
    _check_order(events, history)
    _check_cancelled(events, history)
    _check_reads(events, history)
    for follower in history.followers:
        await _check_follower(log, follower)
    _check_claims(events, history)
    await _check_side_rows(log, events, history)


def told_otherwise(first: object, again: object) -> InvariantBroken:
    return InvariantBroken("I1", "a call was told two things", first=first, again=again)


def check_versions(stream: Stream, versions: Sequence[int]) -> None:
    if list(versions) != list(range(1, len(versions) + 1)):
        raise InvariantBroken("I3", "a stream was read with a gap", stream=stream, versions=list(versions))


def _check_refused(events: Sequence[Recorded], history: History) -> None:
    for event in events:
        if error := history.refused.get(event.id):
            raise InvariantBroken(
                "refused",
                "a call was refused and is in the log",
                error=error,
                id=event.id,
                position=event.position,
            )


def _check_calls(events: Sequence[Recorded]) -> None:
    """Each call is in the log once and whole, and its expectations held."""
    calls: dict[str, list[Recorded]] = defaultdict(list)
    for event in events:
        data = event.data
        calls[data["call"]].append(event)
        if "expect" in data and event.version != data["expect"] + 1:
            raise InvariantBroken(
                "I3", "an expectation did not hold", expected=data["expect"], version=event.version
            )
    for key, mine in calls.items():
        first = mine[0]
        found = [(event.data["index"], event.position) for event in mine]
        if found != [(index, first.position + index) for index in range(first.data["size"])]:
            raise InvariantBroken("whole", "a call is not in the log once and whole", call=key, found=found)


def _check_order(events: Sequence[Recorded], history: History) -> None:
    """What one log was handed first stands first.

    A call that was refused by an attempt whose answer was lost is judged anew, and may be let in behind later calls
    that the same attempt wrote. That is known, and not promised otherwise.
    """
    last: dict[str, int] = {}
    for event in events:
        order = event.data.get("order")
        anew = event.id in history.attempts.refused or event.data["call"] in history.sent_again
        if order and not anew:
            label, number = order
            if number < last.get(label, 0):
                raise InvariantBroken(
                    "I6", "calls stand in another order than they were handed in", by=label, number=number
                )
            last[label] = number


def _check_cancelled(events: Sequence[Recorded], history: History) -> None:
    there = {event.data["call"] for event in events}
    for node, key, refusals in history.cancelled:
        if node.alive and node.refusals() == refusals and key not in there:
            raise InvariantBroken("I1", "a call was lost when its caller was cancelled", call=key)


def _check_reads(events: Sequence[Recorded], history: History) -> None:
    chains = [event.chain for event in events]
    for asked, read in history.reads:
        if read != chains[: len(read)]:
            raise InvariantBroken("I6", "a read is no prefix of the log", events=len(read))
        known = [a.position for a in history.acknowledged if a.answered < asked]
        if len(read) < max(known, default=0):
            raise InvariantBroken("I6", "a read misses what was acknowledged before", events=len(read))


async def _check_follower(log: Log, follower: Follower) -> None:
    wanted = [(event.position, event.chain) async for event in log.read(data=Data.NONE, **follower.filters)]
    if follower.delivered != wanted[: len(follower.delivered)]:
        raise InvariantBroken(
            "I6", "a reader did not get the log", reader=follower.name, got=[p for p, _ in follower.delivered]
        )


def _check_claims(events: Sequence[Recorded], history: History) -> None:
    """Behind a claim that was seen, nothing of an earlier owner gets in."""
    epochs = Counter((claim.tenant, claim.key, claim.epoch) for claim in history.claims)
    if twice := [claim for claim, times in epochs.items() if times > 1]:
        raise InvariantBroken("fence", "an epoch was given to two owners", epochs=twice)
    last: dict[tuple[str, str], int] = {}
    for event in events:
        for row in event.data.get("rows", ()):
            if row[0] == "Fence":
                where, epoch = (event.tenant, row[1]), row[2]
                later = [c for c in history.claims if (c.tenant, c.key) == where and c.epoch > epoch]
                if epoch < last.get(where, 0) or any(event.position > claim.head for claim in later):
                    raise InvariantBroken(
                        "fence",
                        "an owner wrote after it was superseded",
                        fence=where,
                        epoch=epoch,
                        position=event.position,
                    )
                last[where] = epoch


@dataclass(slots=True)
class _Side:
    """Side rows as the log's events say they must be: a fold."""

    keys: dict[str, str] = field(default_factory=dict[str, str])
    due: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    ready: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    wakes: dict[str, int] = field(default_factory=dict[str, int])

    def apply(self, event: Recorded) -> None:
        rows = event.data.get("rows", ())
        for row in rows:
            if problem := self._refuse(row):
                raise InvariantBroken(
                    "guard", f"a guard did not hold: {problem}", row=row, position=event.position
                )
        for row in rows:
            self._change(row)

    def _refuse(self, row: list[Any]) -> str | None:
        match row:
            case ["TakeKey", key, _] if key in self.keys:
                return f"{key} was taken twice"
            case ["NeedKey", key, holder] | ["GiveKey", key, holder, False] if self.keys.get(key) != holder:
                return f"{key} was not held by {holder}"
            case ["ClearDue", key, False] if key not in self.due:
                return f"{key} was not due"
            case ["ClearReady", _, key, False, *_] if key not in self.ready:
                return f"{key} was not ready"
            case ["Fence", key, _] if key not in self.wakes:
                return f"{key} was not open"
            case _:
                return None

    def _change(self, row: list[Any]) -> None:
        match row:
            case ["TakeKey", key, holder]:
                self.keys[key] = holder
            case ["GiveKey", key, holder, _]:
                if self.keys.get(key) == holder:
                    del self.keys[key]
            case ["SetDue", key, at, data]:
                self.due[key] = (at, data)
            case ["ClearDue", key, _]:
                self.due.pop(key, None)
            case ["PutReady", _, key, data, priority, at]:
                self.ready[key] = (data, priority, at)
            case ["ClearReady", _, key, *_]:
                self.ready.pop(key, None)
            case ["OpenFence", key, *_]:
                self.wakes.setdefault(key, 0)
            case ["Wake", key, *_]:
                if key in self.wakes:
                    self.wakes[key] += 1
            case _:
                pass


async def _check_side_rows(log: Log, events: Sequence[Recorded], history: History) -> None:
    for tenant in TENANTS:
        wanted = _Side()
        for event in events:
            if event.tenant == tenant:
                wanted.apply(event)
        fences = await log.backend.fences(tenant, FENCES)
        there = _Side(
            {row.key: row.holder for row in await log.backend.keys(tenant)},
            {
                row.key: (_iso(row.at), row.data.decode())
                for row in await log.backend.due(tenant, by_now=False)
            },
            {
                row.key: (row.data.decode(), row.priority, _iso(row.at))
                for row in await log.backend.ready(tenant, QUEUE)
            },
            {row.key: row.wakes for row in fences},
        )
        if there != wanted:
            raise InvariantBroken(
                "side", "side rows are not what the log says", tenant=tenant, there=there, wanted=wanted
            )
        for fence in fences:
            epochs = [c.epoch for c in history.claims if (c.tenant, c.key) == (tenant, fence.key)]
            if fence.epoch < max(epochs, default=0) or fence.seen > fence.wakes:
                raise InvariantBroken("fence", "a fence went back", fence=fence)


def _iso(us: int) -> str:
    return from_us(us).isoformat()
