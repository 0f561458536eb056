"""What reactors do outside, in a world: a ledger of every try that outlives processes, and what must be true of it.

Some events fail at their first tries and succeed at the last that a reactor makes of itself; others fail until they
are mended, one by one or all at a moment in the middle, and are given up before. Which ones is said by a number, so an
aggregate fails, goes on and fails again.

What is promised of effects is not that each is done once: whoever dies between an effect and its checkpoint, or loses
the lease meanwhile, leaves effects to be done again under the same key. But nobody goes on to the next event of an
aggregate before one has succeeded, whoever did it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from random import Random
from typing import Final, Literal, NamedTuple
from uuid import UUID

from headwater.events.envelope import Recorded, Stream
from headwater.events.model import Event
from headwater.pipelines.reactors import Reaction
from headwater.testing.invariants import InvariantBroken

_NAME: Final = "effects"
_STUBBORN: Final = 3
_BROKEN: Final = 4


class Ordered(Event):
    """What is reacted to."""

    type: Literal["ordered"] = "ordered"
    number: int


class Tried(NamedTuple):
    """A line of the ledger."""

    time: float
    by: str
    what: Literal["begun", "failed", "done"]
    id: UUID
    key: str
    attempt: int


class Effects:
    """The world outside."""

    def __init__(self, attempts: int, mended: float, slow: float) -> None:
        self.ledger: list[Tried] = []
        self._mended: set[int] = set()
        self.now: Callable[[], float] = lambda: 0.0
        self._attempts, self.mended_at, self._slow = attempts, mended, slow

    def mend(self, position: int) -> None:
        """Let one event succeed from now on."""
        self._mended.add(position)

    def mended(self, position: int) -> bool:
        """Whether an event that is tried now does not fail for good."""
        return self.now() >= self.mended_at or position in self._mended

    async def do(self, event: Ordered, reaction: Reaction, by: str, chance: Random) -> None:
        """Try it, which takes a while. What is not mended when it begins fails, though it is mended when it ends."""
        self._note(by, "begun", reaction)
        broken = event.number % _BROKEN == 0 and not self.mended(reaction.recorded.position)
        await asyncio.sleep(chance.uniform(0, self._slow))
        if broken or (event.number % _STUBBORN == 0 and reaction.attempt < self._attempts):
            self._note(by, "failed", reaction)
            raise ConnectionError("not yet mended" if broken else "not at the first tries")
        self._note(by, "done", reaction)
        await asyncio.sleep(chance.uniform(0, self._slow))

    def check(self, events: Sequence[Recorded], once: AbstractSet[int]) -> None:
        """Hold the ledger against the events of the log that are to be reacted to, of which those at some positions
        have no excuse to be done again."""
        self._check_tries({recorded.id for recorded in events})
        begun, done = self._first("begun"), self._first("done")
        before: dict[Stream, UUID] = {}
        for recorded in events:
            id, last = recorded.id, before.get(recorded.stream)
            if id not in done:
                raise InvariantBroken(_NAME, "an effect is lost", event=id, position=recorded.position)
            if last is not None and begun[id] < done[last]:
                raise InvariantBroken(
                    _NAME, "an event overtook another of its aggregate", event=id, other=last
                )
            before[recorded.stream] = id
        times = Counter(tried.id for tried in self.ledger if tried.what == "done")
        if again := [
            recorded.id for recorded in events if recorded.position in once and times[recorded.id] > 1
        ]:
            raise InvariantBroken(_NAME, "an effect was done again without need", event=again[0])

    def _check_tries(self, there: AbstractSet[UUID]) -> None:
        """Each is of an event that is there, under its one key, and one of those that a reactor makes of itself."""
        keys: dict[UUID, str] = {}
        events: dict[str, UUID] = {}
        under_way = set[tuple[str, UUID]]()
        for tried in self.ledger:
            if tried.id not in there:
                raise InvariantBroken(
                    _NAME, "something was reacted to that is not in the log", event=tried.id
                )
            if keys.setdefault(tried.id, tried.key) != tried.key:
                raise InvariantBroken(_NAME, "an event's key is another on another try", event=tried.id)
            if events.setdefault(tried.key, tried.id) != tried.id:
                raise InvariantBroken(_NAME, "two events have one key", event=tried.id, key=tried.key)
            if not 1 <= tried.attempt <= self._attempts:
                raise InvariantBroken(_NAME, "a try has a number beyond the last", tried=tried)
            if tried.what != "begun":
                under_way.remove((tried.by, tried.id))
            elif (tried.by, tried.id) in under_way:
                raise InvariantBroken(_NAME, "one reactor tries an event twice at a time", event=tried.id)
            else:
                under_way.add((tried.by, tried.id))

    def _first(self, what: str) -> dict[UUID, int]:
        """The place in the ledger at which something first happened to each event."""
        first: dict[UUID, int] = {}
        for place, tried in enumerate(self.ledger):
            if tried.what == what:
                first.setdefault(tried.id, place)
        return first

    def _note(self, by: str, what: Literal["begun", "failed", "done"], reaction: Reaction) -> None:
        self.ledger.append(Tried(self.now(), by, what, reaction.recorded.id, reaction.key, reaction.attempt))
