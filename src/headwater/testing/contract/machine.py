"""A Hypothesis state machine: random appends, retries, claims and restarts, held against a model of plain lists."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from headwater.errors import Conflict, PayloadRefused
from headwater.events.envelope import NewEvent, Stream
from headwater.log.log import Log
from headwater.log.port import Claimed
from headwater.log.side import (
    ClearDue,
    ClearReady,
    CloseFence,
    Fence,
    GiveKey,
    NeedKey,
    OpenFence,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    Wake,
    claims,
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
side_rows: st.SearchStrategy[SideRow] = st.one_of(
    st.builds(TakeKey, names, holders),
    st.builds(NeedKey, names, holders),
    st.builds(GiveKey, names, holders, booleans),
    st.builds(OpenFence, names),
    st.builds(CloseFence, names),
    st.builds(Wake, names),
    st.builds(Fence, names, st.integers(0, 2)),
    st.builds(SetDue, names, st.just(MOMENT)),
    st.builds(ClearDue, names, booleans),
    st.builds(PutReady, st.just("q"), names),
    st.builds(ClearReady, st.just("q"), names, booleans),
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
    """Whether a call passes the door: it has events, names no id twice, and changes no row twice."""
    ids = [one.id for ask in call for one in ask.events]
    seen: set[tuple[str, ...]] = set()
    for ask in call:
        for row in ask.rows:
            name, exclusive = claims(row)
            if exclusive and name[0] != "fence" and name in seen:
                return False
            seen.add(name)
    return bool(ids) and len(ids) == len(set(ids))


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
            fence[0] += 1
        assert [(c.epoch, c.wakes) for c in claimed] == ([(fence[0], fence[1])] if fence else [])

    async def _claim(self, key: str) -> Sequence[Claimed]:
        return await self.log.backend.claim(TENANT, [key], "worker")

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
        fences = {row[1]: [row[2], row[4]] for row in await backend.fences(TENANT, ["f", "g"])}
        due = {row[1] for row in await backend.due(TENANT, by_now=False)}
        ready = {row[2] for row in await backend.ready(TENANT, "q")}
        expected = (self.model.keys, self.model.fences, self.model.due, self.model.ready)
        assert (keys, fences, due, ready) == expected

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
