"""Workflows with each piece of asyncio in them. What they return tells in which order things went."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from typing import Any, Literal

from headwater.app import Headwater, Workflow
from headwater.errors import PayloadRefused
from headwater.events.model import Event

app = Headwater("catalogue")
DAY = 86_400
WHO: ContextVar[str] = ContextVar("who", default="nobody")


@app.event
class Noted(Event):
    type: Literal["noted"] = "noted"
    text: str


@app.step
def work(name: str) -> str:
    return name.upper()


@app.step
def fail(name: str) -> str:
    raise ValueError(name)


@app.workflow
async def gathered() -> Any:
    return await asyncio.gather(work("a"), work("b"), asyncio.sleep(5, "slept"), work("c"))


@app.workflow
async def gathered_errors() -> Any:
    results = await asyncio.gather(work("a"), fail("b"), work("c"), return_exceptions=True)
    return [repr(result) for result in results]


@app.workflow
async def gather_that_fails() -> Any:
    async def slow(name: str) -> str:
        try:
            await asyncio.sleep(100)
            return await work(name)
        finally:
            await work(f"clean {name}")

    try:
        return await asyncio.gather(slow("a"), fail("b"), slow("c"))
    except ValueError as error:
        return [str(error), await work("after")]


@app.workflow
async def waited_first() -> Any:
    tasks = {asyncio.create_task(_two(name), name=name) for name in "abcdefgh"}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    trace = [[task.get_name() for task in done], [task.get_name() for task in pending]]
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)
    return [*trace, [task.cancelled() for task in pending]]


async def _two(name: str) -> str:
    return await work(await work(name))


@app.workflow
async def waited_in_time() -> Any:
    tasks = [asyncio.create_task(_two(name)) for name in "abc"]
    done, pending = await asyncio.wait(tasks, timeout=DAY)
    for task in pending:
        task.cancel()
    return [sorted(task.result() for task in done), len(pending)]


@app.workflow
async def completed_tasks() -> Any:
    trace: list[Any] = []
    for nearest in asyncio.as_completed([asyncio.create_task(_two(name)) for name in "abcdef"]):
        trace.append(await nearest)  # noqa: PERF401
    return trace


@app.workflow
async def completed_steps() -> Any:
    trace: list[Any] = []
    for nearest in asyncio.as_completed([work(name) for name in "abcdefgh"]):
        trace.append(await nearest)  # noqa: PERF401
    return trace


@app.workflow
async def grouped() -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_two(name)) for name in "abc"]
    return [task.result() for task in tasks]


@app.workflow
async def group_that_fails() -> Any:
    trace: list[str] = []

    async def child(name: str) -> None:
        try:
            await work(name)
            await asyncio.sleep(DAY)
        except asyncio.CancelledError:
            trace.append(f"cancelled {name}")
            await work(f"undo {name}")
            raise

    try:
        async with asyncio.TaskGroup() as group:
            for name in "abcdefgh":
                group.create_task(child(name))
            group.create_task(_awaits(fail("x")))
    except* ValueError as errors:
        trace.append(str(errors.exceptions))
    return trace


async def _awaits(what: Any) -> Any:
    return await what


@app.workflow
async def timed_out() -> Any:
    try:
        async with asyncio.timeout(3 * DAY):
            await work("a")
            await asyncio.sleep(4 * DAY)
    except TimeoutError:
        return [await work("late")]
    return "in time"


@app.workflow
async def in_time() -> Any:
    async with asyncio.timeout(3 * DAY) as outer:
        async with asyncio.timeout(DAY):
            await work("a")
        outer.reschedule(asyncio.get_running_loop().time() + 10 * DAY)
        await asyncio.sleep(5 * DAY)
    return outer.expired()


@app.workflow
async def waited_for() -> Any:
    trace: list[str] = []
    for name, seconds in [("a", 3), ("b", 0.001), ("c", 5)]:
        try:
            trace.append(await asyncio.wait_for(_two(name), seconds))
        except TimeoutError:
            trace.append(f"{name} is late")
    return trace


@app.workflow
async def slept() -> Any:
    start = app.now()
    await asyncio.sleep(0)
    await asyncio.sleep(DAY)
    await asyncio.gather(*(asyncio.sleep(seconds) for seconds in (5, 1, 3)))
    return [(app.now() - start).days, str(app.uuid()), app.random.random()]


@app.workflow
async def shielded() -> Any:
    inner = asyncio.ensure_future(_two("a"))
    try:
        async with asyncio.timeout(0.0001):
            await asyncio.shield(inner)
    except TimeoutError:
        return ["late", await inner]
    return "in time"


@app.workflow
async def queued() -> Any:
    queue: asyncio.Queue[str] = asyncio.Queue(2)
    trace: list[str] = []

    async def serve(number: int) -> None:
        while True:
            name = await queue.get()
            trace.append(f"{number}:{await work(name)}")
            queue.task_done()

    servers = [asyncio.create_task(serve(number)) for number in range(3)]
    for name in "abcdefg":
        await queue.put(name)
    await queue.join()
    for server in servers:
        server.cancel()
    await asyncio.gather(*servers, return_exceptions=True)
    return trace


@app.workflow
async def locked() -> Any:
    lock, few, trace = asyncio.Lock(), asyncio.Semaphore(2), list[str]()

    async def one(name: str) -> None:
        async with few:
            await work(name)
            async with lock:
                trace.append(await work(f"{name} alone"))

    await asyncio.gather(*map(one, "abcde"))
    return trace


@app.workflow
async def told() -> Any:
    event, condition, barrier, trace = asyncio.Event(), asyncio.Condition(), asyncio.Barrier(3), list[str]()

    async def one(name: str) -> None:
        await event.wait()
        trace.append(await work(name))
        async with condition:
            condition.notify()
        await barrier.wait()
        trace.append(f"{name} passed")

    tasks = [asyncio.create_task(one(name)) for name in "abc"]
    await asyncio.sleep(1)
    async with condition:
        event.set()
        await condition.wait()
        trace.append("told")
    await asyncio.gather(*tasks)
    return trace


@app.workflow
async def cleans_up() -> Any:
    try:
        await work("a")
        await asyncio.sleep(DAY)
        return "done"
    finally:
        await work("clean")
        await asyncio.sleep(1)
        await asyncio.gather(work("cleaner"), work("cleanest"))


@app.workflow
async def generated() -> Any:
    trace: list[str] = []

    async def names(prefix: str) -> AsyncGenerator[str]:
        try:
            for letter in "abc":
                yield await work(prefix + letter)
        finally:
            trace.append(await work(f"close {prefix}"))

    async with aclosing(names("1")) as found:
        async for name in found:
            trace.append(name)  # noqa: PERF401
    async for name in names("2"):
        trace.append(name)
        break
    await work("between")
    left: list[Any] = [names(str(number)) for number in range(3, 9)]
    for number in range(len(left)):
        await anext(left[number])
    left.append(left)  # a cycle: only the collector could find them
    app.set_state("leaving")
    return trace


@app.workflow
async def cyclic_generators() -> Any:
    """Generators in reference cycles: when the collector comes by must not matter."""

    async def names(held: list[Any]) -> AsyncGenerator[str]:
        try:
            yield await work("one")
            yield str(held)
        finally:
            await work("close")

    for number in range(5):
        held: list[Any] = []
        generator = names(held)
        held.append(generator)
        await anext(generator)
        del held, generator
        await work(f"round {number}")
    return "done"


@app.workflow
async def in_contexts() -> Any:
    trace = [WHO.get()]

    async def one(name: str) -> None:
        WHO.set(name)
        await work(name)
        trace.append(WHO.get())

    await asyncio.gather(*map(one, "abc"))
    return [*trace, WHO.get()]


@app.workflow
async def named() -> Any:
    async def own() -> str:
        task = asyncio.current_task()
        await work("a")
        return task.get_name() if task else ""

    root = asyncio.current_task()
    names = await asyncio.gather(*(own() for _ in range(3)))
    return [root.get_name() if root else "", *names]


@app.workflow
async def hooked() -> Any:
    trace: list[Any] = []
    hook = app.hook(int, token="numbers")
    async for number in hook:
        trace.append(number)
        await work(str(number))
        if len(trace) == 3:
            hook.close()
    once = app.hook(str, token="once")
    with suppress(TimeoutError):
        async with asyncio.timeout(DAY):
            trace.append(await once)
    return trace


@app.workflow
async def says() -> Any:
    app.set_state("begun")
    app.set_attributes(color="blue")
    await work("a")
    app.emit(Noted(text="half"))
    app.set_state("half", name="how far")
    await asyncio.sleep(1)
    return await app.actions.work("b", idempotency_key="k")


@app.workflow
async def ordered_by_sets() -> Any:
    """What user code keeps in sets of tasks, futures and calls."""
    calls = {work(name) for name in "abcdefgh"}
    tasks = {asyncio.create_task(_awaits(call)) for call in calls}
    waiting = {task: number for number, task in enumerate(tasks)}
    while waiting:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await work(f"{waiting.pop(task)} {task.result()}")
    return "done"


@app.workflow
async def leaves_tasks() -> Any:
    async def stays(name: str) -> None:
        try:
            await asyncio.sleep(DAY)
        finally:
            await work(f"left {name}")

    kept = [asyncio.create_task(stays(name)) for name in "abc"]
    await work("a")
    return len(kept)


@app.workflow
async def refused() -> Any:
    trace: list[Any] = []
    wrong: Any = object()
    for name in ("a", wrong, "b"):
        try:
            trace.append(await work(name))
        except PayloadRefused:
            trace.append("refused")
    with suppress(PayloadRefused):
        app.set_state(wrong)
    return [*trace, await work("c")]


@app.workflow
async def for_ever() -> Any:
    rest = asyncio.create_task(asyncio.sleep(math.inf))
    await asyncio.sleep(1)
    return [await work("a"), rest.cancel()]


WORKFLOWS: list[Workflow[..., Any]] = list(app.workflows.values())
PAYLOADS = [("numbers", 1), ("numbers", 2), ("numbers", 3), ("once", "x")]
