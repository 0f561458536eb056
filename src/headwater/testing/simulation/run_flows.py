"""The workflows of the runs workload: one for each thing that a workflow can ask, all ending in a few virtual seconds.

A step's result is a number that no other execution of any step has given. So a result that was applied twice, or that
was applied here and is not the one in the log, shows in what the run returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Final, Literal

from headwater.app import Headwater, StepContext, current_step
from headwater.app.workflows import Workflow
from headwater.errors import FatalError, HookConflictError, RetryableError, StepInterrupted
from headwater.events.envelope import Stream
from headwater.events.model import Event
from headwater.log.write import Write

QUEUE: Final = "q"
SHARED_TOKENS: Final = 2
LARGE: Final = 70_000
TIMED_OUT, CONFLICT, FAILED, INTERRUPTED = -1, -2, -3, -4


class Said(Event):
    """A domain event that a workflow emits."""

    brief: ClassVar[bool] = True
    type: Literal["said"] = "said"
    number: int


@dataclass(frozen=True, slots=True)
class Effect:
    """One execution of a step's body. `number` is what the workflow calls it by."""

    key: str
    attempt: int
    tenant: str
    run: str
    step: str
    number: int


class Effects:
    """What has happened outside, whoever did it: it survives all processes."""

    def __init__(self) -> None:
        self.done: list[Effect] = []

    def happen(self, number: int) -> int:
        context: StepContext = current_step()
        self.done.append(
            Effect(context.key, context.attempt, context.tenant, context.run, context.step, number)
        )
        return len(self.done)

    def numbers(self, serials: Sequence[int]) -> list[int]:
        """What the steps that gave these results were called by; what is no result stands for itself."""
        return [self.done[s - 1].number if 0 < s <= len(self.done) else s for s in serials]


def token_of(run: str) -> str:
    return f"to {run}"


def shared_token(n: int) -> str:
    return f"shared {n % SHARED_TOKENS}"


def shared_key(n: int) -> str:
    """The key of an action that other runs use too."""
    return f"shared {n % 2}"


def pause(n: int, i: int) -> float:
    """How long something takes: nothing, a moment, or longer."""
    return (0.0, 0.0, 0.003, 0.05, 0.4, 1.3)[(n * 5 + i * 3 + n // 7) % 6]


class Flows:
    """An app, and what its steps have done."""

    def __init__(self, edition: Callable[[], int]) -> None:
        self.effects = Effects()
        self.app = Headwater("simulated")
        self.app.event(Said)
        self.kinds: dict[str, Workflow[..., Any]] = {}
        _declare(self.app, self.effects, edition)
        self.kinds = {name: workflow for (name, _), workflow in self.app.workflows.items()}


def _declare(app: Headwater, effects: Effects, edition: Callable[[], int]) -> None:  # noqa: PLR0915 - one after another
    @app.step
    async def work(number: int, seconds: float = 0.0) -> int:
        serial = effects.happen(number)
        await asyncio.sleep(seconds)
        return serial

    @app.step
    async def other(number: int) -> int:
        return effects.happen(number)

    @app.step(retries=5, backoff=0.2)
    async def shaky(number: int, failures: int, after: float | None) -> int:
        serial = effects.happen(number)
        if current_step().attempt <= failures:
            raise ValueError("not yet") if after is None else RetryableError("not yet", after=after)
        return serial

    @app.step(retries=1, backoff=0.1)
    async def doomed(number: int, fatal: bool) -> int:  # noqa: FBT001
        effects.happen(number)
        raise FatalError("never") if fatal else ValueError("never")

    @app.step(at_most_once=True)
    async def once(number: int, seconds: float) -> int:
        serial = effects.happen(number)
        await asyncio.sleep(seconds)
        return serial

    @app.step(queue=QUEUE, retries=4, backoff=0.2)
    async def remote(number: int, seconds: float, failures: int = 0) -> int:
        serial = effects.happen(number)
        await asyncio.sleep(seconds)
        if current_step().attempt <= failures:
            raise ValueError("not yet")
        return serial

    @app.step(queue=QUEUE, at_most_once=True)
    async def remote_once(number: int, seconds: float) -> int:
        serial = effects.happen(number)
        await asyncio.sleep(seconds)
        return serial

    @app.step
    async def write(number: int, size: int) -> str:
        serial = effects.happen(number)
        return f"{serial} {Random(serial).randbytes(size).hex()}"  # too large for a row, also compressed

    @app.step
    def measure(number: int, text: str) -> int:
        serial = effects.happen(number)
        return serial if len(text) > LARGE else -len(text)

    @app.step(retries=1, backoff=0.1)
    async def post(number: int, seconds: float, failures: int = 0) -> int:
        serial = effects.happen(number)
        await asyncio.sleep(seconds)
        if current_step().attempt <= failures:
            raise ValueError("not yet")
        return serial

    @app.step(queue=QUEUE)
    async def post_far(number: int, seconds: float) -> int:
        serial = effects.happen(number)
        await asyncio.sleep(seconds)
        return serial

    @app.step(transaction=True, retries=3, backoff=0.1)
    async def book(number: int, seconds: float, failures: int) -> int:
        serial, context = effects.happen(number), current_step()
        booked = Stream("booked", context.run, context.tenant)
        await context.transaction.append(Write(booked, [Said(number=serial)]))
        await asyncio.sleep(seconds)
        if context.attempt <= failures:
            raise ValueError("not yet")
        return serial

    @app.workflow
    async def line(n: int) -> list[int]:
        return [await work(i, pause(n, i)) for i in range(n % 5 + 1)]

    @app.workflow
    async def fan(n: int) -> list[int]:
        first = await asyncio.gather(*[work(i, pause(n, i)) for i in range(n % 4 + 1)])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(10 + i, pause(n, i + 1))) for i in range(2)]
        return [*first, *[task.result() for task in tasks]]

    @app.workflow
    async def nap(n: int) -> list[int]:
        done: list[int] = []
        for i in range(n % 3 + 1):
            await asyncio.sleep(pause(n, i) + 0.001)
            done.append(await work(i))
        return done

    @app.workflow
    async def patient(n: int) -> list[int]:
        hook = app.hook(int, token=token_of(app.run_id))
        first = await work(0, pause(n, 1))
        try:
            async with asyncio.timeout(pause(n, 2) + 0.2):
                return [first, await hook]
        except TimeoutError:
            return [first, TIMED_OUT, await work(1)]

    @app.workflow
    async def inbox(n: int) -> list[int]:
        hook = app.hook(int, token=token_of(app.run_id))
        come: list[int] = []
        async for number in hook:
            come.append(number)
            await work(len(come), pause(n, len(come)) / 4)
            if len(come) > n % 3:
                hook.close()
        return come

    @app.workflow
    async def asking(n: int) -> list[int]:
        come: list[int] = []
        for i in range(n % 3 + 1):
            come.append(await app.hook(int, token=token_of(app.run_id)))
            if n % 2:
                come.append(await work(i))
        return come

    @app.workflow
    async def rival(n: int) -> list[int]:
        for i in range(3):
            try:
                return [await app.hook(int, token=shared_token(n))]
            except HookConflictError:
                await asyncio.sleep(0.2 + pause(n, i))
        return [CONFLICT]

    @app.workflow
    async def careful(n: int) -> list[int]:
        first = await work(0)
        try:
            await asyncio.sleep(pause(n, 1) + 0.5)
            return [first, await work(1, pause(n, 2))]
        except asyncio.CancelledError:
            await asyncio.gather(work(100, pause(n, 3) / 4), remote(101, 0.0))
            raise

    @app.workflow
    async def loud(n: int) -> list[int]:
        done: list[int] = []
        for i in range(n % 3 + 1):
            app.set_state(f"at {i}")
            app.emit(Said(number=i), stream=Stream("said", app.run_id))
            done.append(await work(i, pause(n, i)))
        app.set_attributes(last=str(n))
        app.emit(Said(number=99))
        app.set_state([n, "x" * (n % 2) * 5000])
        return done

    @app.workflow
    async def stubborn(n: int) -> list[int]:
        done = [await shaky(0, n % 3, None if n % 2 else 0.3)]
        try:
            await doomed(1, n % 2 == 0)
        except (ValueError, FatalError):
            done.append(FAILED)
        return done

    @app.workflow
    async def failing(n: int) -> list[int]:
        return [await work(0), await doomed(1, n % 2 == 0)]

    @app.workflow
    async def unique(n: int) -> list[int]:
        done: list[int] = []
        for i in range(3):
            try:
                done.append(await once(i, pause(n, i)))
            except StepInterrupted:
                done.append(INTERRUPTED)
        return done

    @app.workflow
    async def spread(n: int) -> list[int]:
        done = list(await asyncio.gather(*[remote(i, pause(n, i), n % 2) for i in range(n % 3 + 1)]))
        try:
            async with asyncio.timeout(0.02 + pause(n, 4) / 2):
                done.append(await remote(10, pause(n, 2)))
        except TimeoutError:
            done.append(TIMED_OUT)
        try:
            done.append(await remote_once(11, pause(n, 3)))
        except StepInterrupted:
            done.append(INTERRUPTED)
        return done

    @app.workflow
    async def leaving(n: int) -> list[int]:
        left = [asyncio.create_task(remote(50 + i, 0.1 + pause(n, i))) for i in range(2)]
        done = await work(0, pause(n, 1))
        return [done] if left else []

    @app.workflow
    async def large(n: int) -> list[int]:
        text = await write(0, LARGE)
        return [await measure(1, text), int(text.split()[0]), await work(2, pause(n, 2))]

    @app.workflow(timeout=0.5)
    async def brief(n: int) -> list[int]:
        await asyncio.sleep(0.1 + n % 2)
        return [await work(0)]

    @app.workflow
    async def acting(n: int) -> list[int]:
        mine, shared = app.run_id, shared_key(n)
        done = [await app.actions.post(0, pause(n, 1), n % 2, idempotency_key=mine)]
        again = app.actions.post(0, 0.0, idempotency_key=mine)  # known: the result above, and no effect
        near = app.actions.post(10 + n % 2, pause(n, 2), idempotency_key=shared)
        far = app.actions.post_far(20 + n % 2, pause(n, 3), idempotency_key=shared)
        known, *done[1:] = await asyncio.gather(again, near, far)
        return done if known == done[0] else [known, *done]

    @app.workflow
    async def booking(n: int) -> list[int]:
        first = await book(0, 0.0, n % 2)
        return [first, *await asyncio.gather(*[book(1 + i, pause(n, i), 0) for i in range(2)])]

    @app.workflow
    async def edited(n: int) -> list[int]:
        code = edition()
        _ = app.hook(int, token=token_of(app.run_id))  # so that it can be sent to while it is held
        first = await work(0)
        await asyncio.sleep(pause(n, 1) + 0.1)
        second = await (other(1) if code else work(1))
        await asyncio.sleep(pause(n, 3) + 0.2)  # who takes it up now may have other code
        return [first, second, await work(2, pause(n, 2))]


def expected(kind: str, n: int) -> list[list[int]] | None:  # noqa: PLR0911, PLR0912 - one for each kind
    """What a run may return, in the numbers of its steps; None where that depends on what else happened."""
    match kind:
        case "line":
            return [list(range(n % 5 + 1))]
        case "fan":
            return [[*range(n % 4 + 1), 10, 11]]
        case "nap" | "loud":
            return [list(range(n % 3 + 1))]
        case "careful":
            return [[0, 1]]
        case "stubborn":
            return [[0, FAILED]]
        case "failing":
            return []
        case "unique":
            answers = [(i, INTERRUPTED) for i in range(3)]
            return [[a, b, c] for a in answers[0] for b in answers[1] for c in answers[2]]
        case "spread":
            begun = [*range(n % 3 + 1)]
            return [[*begun, a, b] for a in (10, TIMED_OUT) for b in (11, INTERRUPTED)]
        case "large":
            return [[1, 0, 2]]
        case "leaving":
            return [[0]]
        case "acting":
            return [[0, 10 + n % 2, 20 + n % 2]]
        case "booking":
            return [[0, 1, 2]]
        case "edited":
            return [[0, 1, 2]]
        case _:
            return None
