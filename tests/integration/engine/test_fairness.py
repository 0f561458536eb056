"""One tenant has more to do than a worker can: the others' runs end nevertheless, and the worker's memory does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from headwater import Headwater, RunHandle
from headwater.client import Client
from headwater.engine.engine import Engine
from headwater.engine.options import EngineOptions
from headwater.events.envelope import Stream
from headwater.log.log import Log, LogOptions
from headwater.log.ownership import Taken
from headwater.log.port import Backend
from headwater.runs.events import registry_of
from headwater.testing.contract import Site
from headwater.testing.contract.around import Around, Recording
from headwater.testing.contract.facts import write
from headwater.worker import start

pytestmark = pytest.mark.timeout(90)
QUICK: Final = EngineOptions(poll=0.05)


@dataclass
class Doors:
    """An app whose steps wait until a door is opened."""

    app: Headwater = field(default_factory=lambda: Headwater("doors"))
    open: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        @self.app.step(retries=1, backoff=0)
        async def wait(who: str) -> str:
            self.waiting[who] += 1
            await self.open.wait()
            if who == "clumsy" and self.waiting[who] == 1:
                raise ValueError("once")
            return who

        @self.app.workflow
        async def patient(who: str) -> str:
            return await wait(who)

        @self.app.workflow
        async def quick(who: str) -> str:
            return who

        self.patient, self.quick = patient, quick

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(40):
            while not so():
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def log(self, site: Site, recording: Recording | None = None) -> AsyncGenerator[Log]:
        backend = site.backend() if recording is None else recording.backend
        options = LogOptions() if recording is None else LogOptions(queue_bytes=2_000)
        async with Log(backend, registry_of(self.app), options=options) as log:
            yield log

    @asynccontextmanager
    async def working(self, log: Log, places: int) -> AsyncGenerator[Client]:
        """A client of the tenant `many`, with a worker in this process."""
        options = EngineOptions(poll=0.05, runs=places)
        async with self.app.connect(log=log, worker=True, tenant="many", options=options) as client:
            yield client


class Looking(Around):
    """Keeps whose runs each look for new ones has passed over, if anybody's."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.past: list[Sequence[str]] = []

    async def take(self, *rest: Any, suspects: bool = False, without: Sequence[str] = ()) -> Sequence[Taken]:
        if without and not suspects:
            self.past.append(without)
        return await self.inner.take(*rest, suspects=suspects, without=without)


async def rounds(engine: Engine, count: int) -> None:
    """Until an engine has looked for work so many times."""
    async with asyncio.timeout(40):
        for _ in range(count):
            before = engine.progress.get("dispatch")
            while engine.progress.get("dispatch") == before:
                await asyncio.sleep(0.005)


async def fill(log: Log) -> list[asyncio.Task[object]]:
    """Appends that wait, until no more should."""
    tasks: list[asyncio.Task[object]] = []
    while not log.full:
        tasks.append(asyncio.create_task(log.append(write(Stream("card", str(len(tasks)))))))
        await asyncio.sleep(0)
    return tasks


async def test_a_backlog_of_one_tenant_keeps_no_others_run_out(site: Site) -> None:
    doors = Doors()
    async with (
        doors.log(site) as log,
        doors.app.connect(log=log, worker=False, tenant="many") as many,
        doors.app.connect(log=log, worker=False, tenant="few") as few,
    ):
        backlog = await asyncio.gather(*[many.start(doors.patient, "many") for _ in range(45)])
        async with doors.working(log, 20):
            await doors.until(lambda: doors.waiting["many"] == 18)
            found = [await few.start(doors.quick, f"few {n}") for n in range(5)]
            assert [await run.result(20) for run in found] == [f"few {n}" for n in range(5)]
            assert doors.waiting == {"many": 18}
            doors.open.set()
            assert [await run.result(40) for run in backlog] == ["many"] * 45


async def test_a_program_that_starts_more_than_its_worker_has_room_for_keeps_no_others_run_out(
    site: Site,
) -> None:
    doors = Doors()
    async with doors.log(site) as log, doors.working(log, 20) as many:
        backlog = await asyncio.gather(*[many.start(doors.patient, "many") for _ in range(45)])
        await doors.until(lambda: doors.waiting["many"] == 18)
        async with doors.app.connect(log=log, worker=False, tenant="few") as few:
            run = await few.start(doors.quick, "few")
            assert await run.result(20) == "few"
        assert doors.waiting == {"many": 18}
        doors.open.set()
        assert [await run.result(40) for run in backlog] == ["many"] * 45


async def test_each_tenant_that_fills_what_it_gets_leaves_some_to_the_next(site: Site) -> None:
    doors = Doors()
    backlog: list[RunHandle[str]] = []
    async with doors.log(site) as log, doors.working(log, 60) as many, AsyncExitStack() as exits:
        for tenant, gets in (("many", 54), ("more", 3), ("some", 2), ("last", 1)):
            client = doors.app.connect(log=log, worker=False, tenant=tenant)
            await exits.enter_async_context(client)
            backlog += await asyncio.gather(*[client.start(doors.patient, tenant) for _ in range(gets + 10)])
            await doors.until(lambda tenant=tenant, gets=gets: doors.waiting[tenant] == gets)
        await rounds(many.engine, 5)
        assert doors.waiting == {"many": 54, "more": 3, "some": 2, "last": 1}
        doors.open.set()
        await asyncio.gather(*[run.result(60) for run in backlog])


async def test_hints_do_not_make_a_worker_look_past_a_backlog_again_and_again(site: Site) -> None:
    doors, looking = Doors(), Looking(site.backend())
    options = EngineOptions(poll=3600, runs=20)
    async with Log(looking.backend, registry_of(doors.app)) as log:
        client = doors.app.connect(log=log, worker=True, tenant="many", options=options)
        async with client as many:
            backlog = await asyncio.gather(*[many.start(doors.patient, "many") for _ in range(25)])
            await doors.until(lambda: looking.past == [("many",)])
            for _ in range(10):
                many.engine.poke()
                await rounds(many.engine, 1)
            assert looking.past == [("many",)]
            doors.open.set()
            await asyncio.gather(*[run.result(40) for run in backlog[:18]])
            many.engine.poke()
            await asyncio.gather(*[run.result(40) for run in backlog])


async def test_nothing_is_claimed_while_too_much_waits_to_be_written(site: Site) -> None:
    doors, recording = Doors(), Recording(site.backend())
    async with doors.log(site, recording) as log, doors.app.connect(log=log, worker=False) as hw:
        runs = [await hw.start(doors.quick, "run") for _ in range(3)]
        recording.go.clear()
        writing = await fill(log)
        worker = await start(doors.app, log, QUICK)
        try:
            await rounds(worker.engine, 4)
            assert not await log.backend.held()
            recording.go.set()
            assert [await run.result(20) for run in runs] == ["run"] * 3
            await asyncio.gather(*writing)
        finally:
            recording.go.set()
            await worker.stop()


async def test_no_attempt_of_a_step_begins_while_too_much_waits_to_be_written(site: Site) -> None:
    doors, recording = Doors(), Recording(site.backend())
    async with doors.log(site, recording) as log, doors.app.connect(log=log, worker=False) as hw:
        worker = await start(doors.app, log, QUICK)
        try:
            run = await hw.start(doors.patient, "clumsy")
            await doors.until(lambda: doors.waiting["clumsy"] == 1)
            recording.go.clear()
            writing = await fill(log)
            doors.open.set()
            await rounds(worker.engine, 4)
            assert doors.waiting["clumsy"] == 1
            recording.go.set()
            assert await run.result(20) == "clumsy"
            assert doors.waiting["clumsy"] == 2
            await asyncio.gather(*writing)
        finally:
            recording.go.set()
            await worker.stop()
