"""A world notices what its processes do wrong: the seams that workloads are written against."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from headwater import RawEvent, Stream, Write
from headwater.errors import OutcomeUnknown
from headwater.log.log import Log
from headwater.log.ownership import WorkerRow
from headwater.log.side import OpenFence, PutReady, Wake
from headwater.testing.invariants import InvariantBroken
from headwater.testing.simulation import Node, Setup, World
from headwater.testing.simulation.faults import Fault, Kind
from headwater.testing.simulation.storage import Kept

STREAM = Stream("order", "o-1")


class Small:
    """One process that does one thing."""

    processes = ("p",)
    seconds = 2.0

    def __init__(self, program: Callable[[Node, Log], Awaitable[object]]) -> None:
        self._program = program
        self.lives: list[str] = []
        self.positions: list[int] = []

    async def run(self, node: Node) -> None:
        self.lives.append(node.label)
        async with node.log() as log:
            await self._program(node, log)
            await node.stopping.wait()

    def unfinished(self) -> str | None:
        return None

    async def check(self, log: Log) -> None:
        self.positions = [event.position async for event in log.read()]


def live(workload: Small, *faults: Fault, kept: Kept = "memory") -> Small:
    world = World(Setup(1, storage=kept), workload, faults)
    try:
        world.live()
    finally:
        world.close()
    return workload


async def append(node: Node, log: Log) -> None:
    await log.append(Write(STREAM, [RawEvent("placed", {"by": node.label})]))


@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_a_crashed_process_is_restarted_and_what_it_wrote_is_there(kept: Kept) -> None:
    small = live(Small(append), Fault(0, 1.0, Kind.CRASH, "p", 0), kept=kept)
    assert small.lives == ["p.1", "p.2"]
    assert small.positions == [1, 2]


def test_an_error_that_a_program_did_not_expect_ends_the_world() -> None:
    async def fail(node: Node, log: Log) -> None:
        raise KeyError(node.label)

    with pytest.raises(KeyError, match=r"p\.1"):
        live(Small(fail))


def test_a_task_that_is_left_is_found() -> None:
    kept: list[asyncio.Task[None]] = []

    async def leave(node: Node, log: Log) -> None:
        kept.append(asyncio.create_task(asyncio.sleep(1e9), name="forgotten"))

    with pytest.raises(InvariantBroken, match=r"I8.*forgotten"):
        live(Small(leave))


def test_a_connection_that_is_left_is_found() -> None:
    class Forgetful(Small):
        async def run(self, node: Node) -> None:
            log = node.log()
            await log.__aenter__()
            await append(node, log)

    with pytest.raises(InvariantBroken, match=r"I8.*left open"):
        live(Forgetful(append), kept="sqlite")


def test_a_lost_answer_is_asked_for_again_and_written_once() -> None:
    async def later(node: Node, log: Log) -> None:
        await asyncio.sleep(0.1)
        await append(node, log)

    assert live(Small(later), Fault(0, 0.0, Kind.UNKNOWN_AFTER, "p", 2)).positions == [1]


def test_a_paused_process_does_nothing_and_then_goes_on() -> None:
    moments: list[float] = []

    async def tick(node: Node, log: Log) -> None:
        for _ in range(10):
            await asyncio.sleep(0.1)
            moments.append(node.world.loop.time())

    live(Small(tick), Fault(0, 0.35, Kind.PAUSE, "p", 1.0))
    gaps = [after - before for before, after in pairwise(moments)]
    assert max(gaps) == pytest.approx(1.05, abs=0.11)


@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_the_answer_to_a_claim_may_be_lost_though_it_was_made(kept: Kept) -> None:
    held: list[object] = []

    async def program(node: Node, log: Log) -> None:
        backend = log.backend
        await asyncio.sleep(0.5)
        rows = [OpenFence("f", "paper"), Wake("f"), PutReady("q", "r")]
        await log.append(Write(STREAM, [RawEvent("placed", None)], rows=rows))
        await asyncio.sleep(1)
        for lost in (
            lambda: backend.enrol(WorkerRow("w", "here", 10**9, b"")),
            lambda: backend.take("w", ["paper"], 1),
            lambda: backend.take_ready("w", {"q": 1}),
        ):
            with pytest.raises(OutcomeUnknown):
                await lost()
        held.extend(
            [(await backend.fences("default", ["f"]))[0].holder, (await backend.ready(None, "q"))[0].holder]
        )

    live(Small(program), Fault(0, 1.0, Kind.UNKNOWN_AFTER, "p", 3), kept=kept)
    assert held == ["w", "w"]
