"""How a process's calls get to the storage and back.

A remote database goes on when its caller has died: what was sent arrives, and is carried out, with nobody to hear the
answer. An embedded one dies with the process; what it had not begun is not done.

A call that was sent is an attempt. When its outcome is lost, the caller sends the call again, and the first attempt
may still be on its way: a zombie. Were it carried out after the second attempt was refused, the caller would have been
told a lie. So the second attempt voids the first, as a database does by a token that both carry. Attempts of a process
that died are nobody's to void: they may be carried out until they are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, TypeVar
from uuid import UUID

from headwater.testing.simulation.loop import SimulationError, SimulationLoop, typical_latency

T = TypeVar("T")
Job = Callable[[], Coroutine[Any, Any, T]]


@dataclass(eq=False, slots=True)
class Attempt:
    """One sending of a batch."""

    session: object
    ids: frozenset[UUID]
    void: bool = False


class Attempts:
    """The attempts that are on their way to a remote database."""

    def __init__(self) -> None:
        self._open: list[Attempt] = []
        self.refused: set[UUID] = set()
        """What was refused by some attempt, also where the caller never heard of it."""

    def begin(self, session: object, ids: Iterable[UUID]) -> Attempt:
        attempt = Attempt(session, frozenset(ids))
        self._open.append(attempt)
        return attempt

    def arrive(self, attempt: Attempt) -> bool:
        """Whether it may be carried out; earlier ones of its session no longer may."""
        begun = self._open.index(attempt) if attempt in self._open else 0
        for earlier in self._open[:begun]:
            if earlier.session is attempt.session and earlier.ids == attempt.ids:
                self.void(earlier)
        self.end(attempt)
        return not attempt.void

    def void(self, attempt: Attempt) -> None:
        attempt.void = True
        self.end(attempt)

    def end(self, attempt: Attempt) -> None:
        if attempt in self._open:
            self._open.remove(attempt)

    def under_way(self, ids: Iterable[UUID]) -> bool:
        """Whether an attempt with one of these ids may still be carried out."""
        wanted = set(ids)
        return any(not attempt.ids.isdisjoint(wanted) for attempt in self._open)


class Wire(Protocol):
    """Carries a job to where the data is."""

    async def carry(self, job: Job[T], *, slow: bool = False) -> T: ...
    def send(self, job: Job[T], late: float) -> None: ...


class Remote:
    """To a server of its own, which belongs to the world."""

    def __init__(self, loop: SimulationLoop, chance: Random) -> None:
        self._loop, self._chance = loop, chance

    async def carry(self, job: Job[T], *, slow: bool = False) -> T:
        answer: asyncio.Future[T] = self._loop.create_future()
        self._send(job, self._latency(slow=slow), answer, self._latency(slow=slow))
        return await answer

    def send(self, job: Job[T], late: float) -> None:
        """Let it arrive some time, with nobody waiting."""
        self._send(job, late, None, 0.0)

    def _send(self, job: Job[T], there: float, answer: asyncio.Future[T] | None, back: float) -> None:
        def arrive() -> None:
            settle, outcome = _do(job, answer)
            self._loop.call_later(back, settle, outcome)

        with self._loop.process("world"):
            self._loop.call_later(there, arrive)

    def _latency(self, *, slow: bool) -> float:
        return typical_latency(self._chance) * (50 if slow else 1)


class Embedded:
    """In the process itself: the storage's own jobs take their time."""

    async def carry(self, job: Job[T], *, slow: bool = False) -> T:
        await asyncio.sleep(0.02 if slow else 0)
        return await job()

    def send(self, job: Job[T], late: float) -> None:
        """Nothing is under way between a program and its own memory."""


def _do(job: Job[T], answer: asyncio.Future[T] | None) -> tuple[Callable[[Any], None], Any]:
    """Do it, and say how to answer. Nothing in it may wait: a server's work is done at the moment when it is done."""
    coroutine = job()
    try:
        while coroutine.send(None) is None:
            pass  # it only let others go first
    except StopIteration as done:
        return _answer(answer, failed=False), done.value
    except Exception as error:  # noqa: BLE001  the caller's, as over any wire
        return _answer(answer, failed=True), error
    coroutine.close()
    raise SimulationError("A remote storage waited for something. Give it one that answers at once.")


def _answer(answer: asyncio.Future[T] | None, *, failed: bool) -> Callable[[Any], None]:
    def settle(outcome: Any) -> None:
        if answer is None or answer.done():
            return
        if failed:
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)

    return settle
