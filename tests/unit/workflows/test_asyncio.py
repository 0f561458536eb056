"""Standard asyncio in a workflow: the same on the first time, on replay, and from every place in the history."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.app import Workflow
from headwater.runs import events as run
from tests.unit.workflows import catalogue
from tests.unit.workflows.driver import Owner, assert_same_everywhere, at_random, first, replay

each_workflow = pytest.mark.parametrize("workflow", catalogue.WORKFLOWS, ids=lambda w: w.name)


def owner(workflow: Workflow[..., Any], seed: int, **options: Any) -> Owner:
    choose = at_random(seed) if seed else first
    return Owner(workflow, choose=choose, payloads=catalogue.PAYLOADS, **options)


@each_workflow
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_same_from_every_place_in_its_history(workflow: Workflow[..., Any], seed: int) -> None:
    live = owner(workflow, seed).go()
    assert live.execution.outcome is not None
    assert isinstance(live.execution.outcome.event, run.RunCompleted), live.say()
    live.execution.evict()
    assert_same_everywhere(live)


@each_workflow
@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_a_cancelled_run_is_the_same_from_every_place(workflow: Workflow[..., Any], after: int) -> None:
    live = owner(workflow, after, cancel_after=after).go()
    live.execution.evict()
    assert_same_everywhere(live)


def result(workflow: Workflow[..., Any], seed: int = 0, **options: Any) -> Any:
    live = owner(workflow, seed, **options).go()
    live.execution.evict()
    assert live.execution.outcome is not None
    event = live.execution.outcome.event
    return event.output if isinstance(event, run.RunCompleted) else event


def test_gather_gives_results_in_order() -> None:
    assert result(catalogue.gathered, 3) == ["A", "B", "slept", "C"]


def test_as_completed_gives_results_as_they_come() -> None:
    live = owner(catalogue.completed_steps, 5).go()
    came = [t.event.output for t in live.turns if isinstance(t.event, run.StepCompleted)]
    assert came != sorted(came)
    assert result(catalogue.completed_steps, 5) == came
    live.execution.evict()


def test_a_failing_child_cancels_its_group_in_order_and_clean_up_may_call_steps() -> None:
    trace = result(catalogue.group_that_fails)
    assert trace[:-1] == [f"cancelled {name}" for name in "abcdefgh"]
    assert trace[-1] == "(ValueError('x'),)"


def test_a_timeout_that_expires_cancels_and_goes_on() -> None:
    assert result(catalogue.timed_out) == ["LATE"]
    assert result(catalogue.in_time) is False


def test_context_starts_empty_and_is_a_tasks_own() -> None:
    catalogue.WHO.set("the engine")
    assert result(catalogue.in_contexts) == ["nobody", "a", "b", "c", "nobody"]


def test_names_of_tasks_are_the_runs_own() -> None:
    names = result(catalogue.named)
    assert names[0] == "named:run-1"
    assert names == result(catalogue.named)


def test_a_cancelled_run_cleans_up_with_steps() -> None:
    live = owner(catalogue.cleans_up, 0, cancel_after=2).go()
    live.execution.evict()
    steps = [event.input["name"] for event, _ in live.history() if isinstance(event, run.StepCreated)]
    assert steps == ["a", "clean", "cleaner", "cleanest"]
    assert live.execution.outcome is not None
    assert live.execution.outcome.event == run.RunCancelled(reason="enough")


def test_tasks_that_are_left_are_cancelled_and_may_clean_up() -> None:
    live = owner(catalogue.leaves_tasks, 0).go()
    live.execution.evict()
    steps = [event.input["name"] for event, _ in live.history() if isinstance(event, run.StepCreated)]
    assert steps == ["a", "left a", "left b", "left c"]


def test_an_abandoned_generator_is_closed_when_it_is_dropped_and_at_the_end_in_order() -> None:
    live = owner(catalogue.generated, 0).go()
    live.execution.evict()
    steps = [event.input["name"] for event, _ in live.history() if isinstance(event, run.StepCreated)]
    assert steps[4:8] == ["2a", "between", "close 2", "3a"]
    assert steps[-6:] == [f"close {number}" for number in range(3, 9)]


def test_a_cancellation_that_stands_before_the_start_comes_right_after_it() -> None:
    live = owner(catalogue.cleans_up, 0)
    cancelled = run.CancelRequested(reason="enough")
    started = [event for turn in (live.start().turns[-1], live.tell(cancelled)) for event in turn.events()]
    assert [event.type for event in started] == [
        *("run_started", "step_created", "cancel_requested"),
        *("step_cancelled", "step_created"),
    ]
    started.remove(cancelled)
    history = [(event, 1) for event in (live.turns[0].event, cancelled, *started)]
    again = replay(catalogue.cleans_up, history)
    assert again.outcome is None
    assert again.commands == []
    again.evict()
    live.execution.evict()
