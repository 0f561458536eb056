"""The fold of a run, from lists of events and without a database."""

from datetime import timedelta
from functools import reduce
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headwater.errors import IllegalEvent
from headwater.runs.events import (
    AttributesSet,
    CancelRequested,
    ChildFinished,
    ChildStarted,
    HookCreated,
    HookReceived,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunCreated,
    RunEvent,
    RunFailed,
    RunHeld,
    RunReleased,
    RunStarted,
    RunStateChanged,
    StepCompleted,
    StepCreated,
    StepRetrying,
    StepStarted,
    WaitCreated,
)
from headwater.runs.state import RunState, advance
from tests.unit.runs.histories import BAD, T0, at, history

STORED: TypeAdapter[RunState] = TypeAdapter(RunState)
BEGUN = [
    RunCreated(workflow="w", workflow_version=3, input={"x": 1}, attributes={"a": "1"}),
    RunStarted(worker="me"),
]


def fold(*events: RunEvent) -> RunState:
    return reduce(
        lambda state, event: advance(state, event, at(state.version + 1)), events, RunState(run="r")
    )


def begun(*events: RunEvent) -> RunState:
    return fold(*BEGUN, *events)


def test_a_run_is_pending_until_it_is_started() -> None:
    state = fold(BEGUN[0])
    assert (state.status, state.workflow, state.workflow_version, state.input) == (
        "pending",
        "w",
        3,
        {"x": 1},
    )
    assert (state.created_at, state.started_at, state.version) == (at(1), None, 1)


def test_a_second_start_of_a_running_run_changes_nothing() -> None:
    once = begun()
    twice = begun(RunStarted(worker="other"))
    assert twice == STORED.validate_python({**STORED.dump_python(once), "version": 3})


def test_data_is_what_was_set_last_and_state_is_one_of_it() -> None:
    state = begun(
        RunStateChanged(call=1, name="state", to="a"),
        RunStateChanged(call=2, name="progress", to=5),
        RunStateChanged(call=3, name="state", from_="a", to="b"),
        AttributesSet(call=4, attributes={"b": "2"}),
    )
    assert (state.state, state.data, state.attributes) == (
        "b",
        {"state": "b", "progress": 5},
        {"a": "1", "b": "2"},
    )


def test_a_step_shows_its_attempts() -> None:
    retry = StepRetrying(call=1, attempt=1, error=BAD, retry_after=T0 + timedelta(days=1))
    tried = begun(
        StepCreated(call=1, name="s", input=None, queue="q"),
        StepStarted(call=1, attempt=1, worker="w1"),
        retry,
    )
    step = tried.steps[1]
    assert (step.status, step.attempt, step.error, step.retry_after) == ("pending", 1, BAD, retry.retry_after)
    again = advance(tried, StepStarted(call=1, attempt=2, worker="w2"), at(6)).steps[1]
    assert (again.first_started_at, again.started_at, again.retry_after, again.worker) == (
        at(4),
        at(6),
        None,
        "w2",
    )
    done = advance(tried, StepCompleted(call=1, attempt=2, output=7), at(7)).steps[1]
    assert (done.status, done.output, done.error, done.ended_at) == ("completed", 7, None, at(7))


def test_the_end_disposes_of_what_is_open_and_lets_a_running_step_record_its_result() -> None:
    ended = begun(
        StepCreated(call=1, name="runs", input=None, queue="q"),
        StepStarted(call=1, attempt=1, worker="w"),
        StepCreated(call=2, name="waits", input=None, queue="q"),
        HookCreated(call=3, token="t"),
        WaitCreated(call=4, until=T0),
        RunCompleted(output="done"),
    )
    assert (ended.status, ended.output, ended.ended_at) == ("completed", "done", at(8))
    assert [step.status for step in ended.steps.values()] == ["running", "cancelled"]
    assert (ended.hooks[3].status, ended.waits[4].status) == ("disposed", "cancelled")
    assert (ended.open_tokens, ended.open_waits, ended.queued_steps) == ({}, [], {1: "q"})
    assert advance(ended, StepCompleted(call=1, attempt=1, output=5), at(9)).steps[1].output == 5
    assert advance(ended, StepCompleted(call=2, attempt=1, output=5), at(9)).steps[2].status == "cancelled"
    retried = StepRetrying(call=1, attempt=1, error=BAD, retry_after=T0)
    assert advance(ended, retried, at(9)).steps[1].status == "cancelled"
    with pytest.raises(IllegalEvent, match=r"Event 9 of run 'r' is a cancel_requested.*the run is completed"):
        advance(ended, CancelRequested(), at(9))


def test_a_held_run_says_why_until_it_is_released() -> None:
    held = begun(RunHeld(reason="diverged", message="line 3"))
    assert held.held is not None
    assert (held.status, held.held.reason, held.held.message) == ("held", "diverged", "line 3")
    released = advance(held, RunReleased(), at(4))
    assert (released.status, released.held) == ("running", None)


def test_a_cancel_is_asked_for_before_it_is_done() -> None:
    asked = begun(CancelRequested(reason="why"))
    assert (asked.status, asked.cancel_requested) == ("running", True)
    assert advance(asked, RunCancelled(), at(4)).status == "cancelled"


def test_a_failure_keeps_its_error() -> None:
    assert begun(RunFailed(error=BAD)).error == BAD


def test_children_are_open_until_their_end_is_known() -> None:
    state = begun(ChildStarted(call=1, run="c1", workflow="w"), ChildStarted(call=2, run="c2", workflow="w"))
    assert state.open_children == ["c1", "c2"]
    assert advance(state, ChildFinished(call=1, run="c1"), at(5)).open_children == ["c2"]


def test_a_new_generation_begins_without_calls_and_absorbs_what_was_on_its_way() -> None:
    state = begun(
        StepCreated(call=1, name="s", input=None),
        HookCreated(call=2, token="t"),
        RunContinued(generation=2, input=9, workflow_version=4),
    )
    assert (state.generation, state.input, state.workflow_version, dict(state.steps)) == (2, 9, 4, {})
    late = advance(state, StepCompleted(call=1, attempt=1, output=1), at(6))
    assert (late.version, dict(late.steps)) == (6, {})
    assert advance(late, HookReceived(call=2, payload=1), at(7)).version == 7


def test_a_call_has_one_meaning() -> None:
    with pytest.raises(IllegalEvent, match="call 1 is open"):
        begun(HookCreated(call=1, token="t"), WaitCreated(call=1, until=T0))


def test_an_event_of_a_call_that_is_not_there_is_illegal() -> None:
    with pytest.raises(IllegalEvent, match="step 7 is not there"):
        begun(StepCompleted(call=7, attempt=1, output=1))


@given(seed=st.integers(0, 2**32), length=st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_a_legal_history_folds_and_every_illegal_next_event_fails(seed: int, length: int) -> None:
    events, model = history(Random(seed), length)
    state = fold(*events)
    shown: tuple[Any, ...] = (state.status if events else None,)
    for parts in (state.steps, state.hooks, state.waits):
        shown = (*shown, {call: part.status for call, part in parts.items()})
    assert shown == (model.status, model.steps, model.hooks, model.waits)
    for event, legal in model.every():
        if legal:
            assert advance(state, event, at(0)).version == state.version + 1
        else:
            with pytest.raises(IllegalEvent):
                advance(state, event, at(0))


@given(seed=st.integers(0, 2**32), length=st.integers(0, 80), cut=st.integers(0, 80))
@settings(max_examples=60, deadline=None)
def test_a_state_goes_on_from_a_snapshot_as_from_its_events(seed: int, length: int, cut: int) -> None:
    events, _ = history(Random(seed), length)
    cached = STORED.validate_json(STORED.dump_json(fold(*events[:cut])))
    resumed = reduce(lambda state, event: advance(state, event, at(state.version + 1)), events[cut:], cached)
    assert resumed == fold(*events)
    assert STORED.dump_json(resumed) == STORED.dump_json(fold(*events))
