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
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeVar
from uuid import UUID

from headwater.testing.simulation.loop import SimulationLoop, typical_latency

T = TypeVar("T")
Job = Callable[[], Awaitable[T]]


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

    def begin(self, session: object, ids: Iterable[UUID]) -> Attempt:
        attempt = Attempt(session, frozenset(ids))
        self._open.append(attempt)
        return attempt

    def arrive(self, attempt: Attempt) -> bool:
        """Whether it may be carried out; earlier ones of its session no longer may."""
        self.end(attempt)
        for earlier in [a for a in self._open if a.session is attempt.session and a.ids == attempt.ids]:
            self.void(earlier)
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
            served = self._loop.create_task(_serve(job), name="serve")
            served.add_done_callback(leave)

        def leave(served: asyncio.Task[T]) -> None:
            error = served.exception()
            if answer is not None:
                self._loop.call_later(back, _settle, answer, served, error)

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


async def _serve(job: Job[T]) -> T:
    return await job()


def _settle(answer: asyncio.Future[T], served: asyncio.Task[T], error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(served.result())
    else:
        answer.set_exception(error)
