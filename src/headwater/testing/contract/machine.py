"""A Hypothesis state machine: random appends, retries, claims and restarts, held against a model of plain lists."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from headwater.errors import Conflict, PayloadRefused
from headwater.events.envelope import NewEvent, Stream
from headwater.log.log import Log
from headwater.log.ownership import WorkerRow
from headwater.log.port import Claimed, Release
from headwater.log.side import (
    ClearDue,
    ClearReady,
    CloseFence,
    Fence,
    GiveKey,
    NeedKey,
    OpenFence,
    PutEntry,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    Trust,
    Wake,
    WithdrawReady,
    claims,
    is_repeatable,
)
from headwater.log.write import ANY, Write
from headwater.testing.contract.facts import ONE, TENANT, THREE, TWO, everything, raw
from headwater.testing.contract.model import Answer, Ask, Model, Told
from headwater.testing.contract.site import Site
from headwater.testing.invariants import Witness, check

T = TypeVar("T")
MOMENT = datetime(2020, 1, 1, tzinfo=UTC)
names = st.sampled_from(["f", "g"])
holders = st.sampled_from(["me", "you"])
booleans = st.booleans()
workers = st.sampled_from(["w1", "w2"])
some_workers = st.lists(workers, max_size=2)
LABELS = ["", "paper"]
claim_numbers = st.one_of(st.none(), st.integers(0, 2))
side_rows: st.SearchStrategy[SideRow] = st.one_of(
    st.builds(TakeKey, names, holders),
    st.builds(NeedKey, names, holders),
    st.builds(GiveKey, names, holders, booleans),
    st.builds(OpenFence, names, st.sampled_from(LABELS), st.one_of(st.none(), workers)),
    st.builds(CloseFence, names),
    st.builds(Wake, names, booleans),
    st.builds(Trust, names),
    st.builds(Fence, names, st.integers(0, 2)),
    st.builds(SetDue, names, st.just(MOMENT)),
    st.builds(ClearDue, names, booleans),
    st.builds(PutReady, st.just("q"), names, claim=claim_numbers),
    st.builds(ClearReady, st.just("q"), names, booleans, claim_numbers),
    st.builds(WithdrawReady, st.just("q"), names),
    st.builds(PutEntry, st.just("papers"), names, holders, names),
)
told = st.builds(Told, st.integers(1, 60).map(lambda n: UUID(int=n)), st.integers(0, 1))
asks = st.builds(
    Ask,
    st.sampled_from([ONE, TWO, THREE]),
    st.lists(told, max_size=3, unique_by=lambda one: one.id).map(tuple),
    st.one_of(st.just(ANY), st.integers(0, 4)),
    st.lists(side_rows, max_size=2).map(tuple),
    booleans,
)
calls = st.lists(asks, min_size=1, max_size=3)
fresh_ids = st.integers(min_value=1000, max_value=2**64).map(lambda n: UUID(int=n))


def is_well_formed(call: list[Ask]) -> bool:
    """Whether a call passes the door: it has events or may be repeated, names no id twice, and changes no row twice."""
    ids = [one.id for ask in call for one in ask.events]
    seen: set[tuple[str, ...]] = set()
    for ask in call:
        for row in ask.rows:
            name, exclusive = claims(row)
            if exclusive and name[0] != "fence" and name in seen:
                return False
            seen.add(name)
    rows = [row for ask in call for row in ask.rows]
    return len(ids) == len(set(ids)) and bool(ids or (rows and all(map(is_repeatable, rows))))


def as_write(ask: Ask) -> Write:
    events = [NewEvent(event=raw(one.fact), id=one.id, occurred_at=MOMENT) for one in ask.events]
    return Write(ask.stream, events, expect=ask.expect, rows=ask.rows, known="skip" if ask.skip else "refuse")


class LogMachine(RuleBasedStateMachine):
    """One log, its model, and an event loop of their own."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.runner = asyncio.Runner()
        self.model = Model()
        self.witness = Witness()
        self.log = self.run(_entered(site.open()))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def ask(self, call: list[Ask]) -> Answer:
        try:
            appended = await self.witness.append(self.log, *[as_write(ask) for ask in call])
        except Conflict as error:
            return error.code
        return [(one.positions, one.versions, one.known) for one in appended]

    @rule(call=calls)
    def append(self, call: list[Ask]) -> None:
        if is_well_formed(call):
            assert self.run(self.ask(call)) == self.model.append(call)
        else:
            self.run(self._refused_at_the_door(call))

    async def _refused_at_the_door(self, call: list[Ask]) -> None:
        try:
            await self.log.append(*[as_write(ask) for ask in call])
        except PayloadRefused:
            return
        raise AssertionError(f"{call} was let in")

    @rule(ids=st.lists(fresh_ids, min_size=1, max_size=4, unique=True), stream=st.sampled_from([ONE, TWO]))
    def append_what_fits(self, ids: list[UUID], stream: Stream) -> None:
        events = tuple(Told(id, 0) for id in ids)
        self.append([Ask(stream, events, self.model.version(stream), (), False)])

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Some event of the log is told once more, alone."""
        if self.model.log:
            entry = data.draw(st.sampled_from(self.model.log))
            self.append([Ask(entry.stream, (entry.told,), 0, (), False)])

    @rule(group=st.lists(calls.filter(is_well_formed), min_size=2, max_size=6))
    def append_together(self, group: list[list[Ask]]) -> None:
        async def together() -> list[Answer]:
            return await asyncio.gather(*[self.ask(call) for call in group])

        assert self.run(together()) == [self.model.append(call) for call in group]

    @rule(key=names)
    def claim(self, key: str) -> None:
        claimed = self.run(self._claim(key))
        fence = self.model.fences.get(key)
        if fence:
            fence.epoch, fence.holder = fence.epoch + 1, "worker"
        assert [(c.epoch, c.wakes) for c in claimed] == ([(fence.epoch, fence.wakes)] if fence else [])

    async def _claim(self, key: str) -> Sequence[Claimed]:
        return await self.log.backend.claim(TENANT, [key], "worker")

    @rule(key=names, behind=st.integers(0, 1))
    def release(self, key: str, behind: int) -> None:
        fence = self.model.fences.get(key)
        if fence:
            release = self.log.backend.release([Release(TENANT, key, fence.epoch, fence.wakes - behind)])
            assert self.run(release) == [not behind]
            if not behind:
                fence.holder, fence.seen = None, fence.wakes

    @rule(worker=workers)
    def enrol(self, worker: str) -> None:
        self.run(self.log.backend.enrol(WorkerRow(worker, "here", 10**12, b"")))
        self.model.workers.add(worker)

    @rule(worker=workers, suspects=booleans)
    def take(self, worker: str, suspects: bool) -> None:  # noqa: FBT001 - drawn
        taken = self.run(self.log.backend.take(worker, LABELS, 10, suspects=suspects))
        assert self.model.may_take(worker, {fence.key for fence in taken}, suspects=suspects)
        for _, key, label, epoch, wakes, trial, deaths in taken:
            assert astuple(self.model.take(worker, key)) == (
                epoch,
                worker,
                wakes,
                wakes,
                label,
                trial,
                deaths,
            )

    @rule(id=fresh_ids, key=names, worker=workers)
    def work(self, id: UUID, key: str, worker: str) -> None:
        """Something comes in, and a worker sees to it: what the rules alone seldom arrive at."""
        self.enrol(worker)
        rows = (OpenFence(key, "paper"), Wake(key), PutReady("q", key))
        self.append([Ask(ONE, (Told(id, 0),), ANY, rows, False)])
        self.woken(worker)
        self.take(worker, False)
        self.take(worker, True)
        self.take_ready(worker)

    @rule(worker=workers)
    def woken(self, worker: str) -> None:
        found = self.run(self.log.backend.woken(worker))
        assert {row.key: (row.epoch, row.wakes) for row in found} == self.model.woken(worker)

    @rule(worker=workers)
    def take_ready(self, worker: str) -> None:
        taken = self.run(self.log.backend.take_ready(worker, {"q": 10}))
        assert {row.key: row.claim for row in taken} == self.model.take_ready(worker)

    @rule(dead=some_workers, left=some_workers)
    def sweep(self, dead: list[str], left: list[str]) -> None:
        swept = self.run(self.log.backend.sweep(dead, left))
        assert (sorted(swept.workers), *swept[1:]) == self.model.sweep({*dead}, {*left})

    @rule()
    def restart(self) -> None:
        self.run(self.log.__aexit__(None, None, None))
        self.log = self.run(_entered(self.site.open()))

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        self.run(self._compare())

    async def _compare(self) -> None:
        events = await everything(self.log)
        there = [(e.stream, e.version, e.id, e.data["n"]) for e in events]
        assert there == [(e.stream, e.version, e.told.id, e.told.fact) for e in self.model.log]
        backend = self.log.backend
        keys = {key: holder for _, key, holder in await backend.keys(TENANT)}
        fences = {row[1]: tuple(row[2:]) for row in await backend.fences(TENANT, ["f", "g"])}
        assert fences == {key: astuple(fence) for key, fence in self.model.fences.items()}
        due = {row[1] for row in await backend.due(TENANT, by_now=False)}
        ready = {row.key: (row.claim, row.holder) for row in await backend.ready(TENANT, "q")}
        assert ready == {key: astuple(row) for key, row in self.model.ready.items()}
        entries = {row.key: (row.label, row.status) for row in await backend.entries(TENANT, "papers")}
        assert {row.id for row in await backend.workers()} == self.model.workers
        assert (keys, due, entries) == (self.model.keys, self.model.due, self.model.entries)

    def teardown(self) -> None:
        try:
            self.run(check(self.log, self.witness.acknowledged))
        finally:
            self.run(self.log.__aexit__(None, None, None))
            self.runner.close()


class MachineContract:
    """How much is tried is the backend author's choice; two or three dozen runs find most mistakes."""

    settings = settings(
        max_examples=25,
        stateful_step_count=20,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )

    def test_random_calls_agree_with_a_model_of_plain_lists(self, site: Site) -> None:
        class Machine(LogMachine):
            def __init__(self) -> None:
                super().__init__(site.fresh())

        # Not through `behaviour`: Hypothesis runs each example in a loop of its own.
        run_state_machine_as_test(Machine, settings=self.settings)


async def _entered(log: Log) -> Log:
    return await log.__aenter__()
