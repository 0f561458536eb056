"""The tables: every pair of status and event is a move, absorbed, or illegal, as the design says."""

import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from headwater.runs.diagrams import diagrams
from headwater.runs.machines import (
    FINISHED,
    HOOK,
    LATE,
    MACHINES,
    RUN,
    STEP,
    UNFINISHED,
    WAIT,
    WHILE,
    Machine,
)
from headwater.runs.protocol import MODELS

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/runs.md"

LEGAL = {
    RUN.name: {
        "run_created": {None: "pending"},
        "run_started": {"pending": "running", "running": "running"},
        "run_continued": {"running": "running"},
        "cancel_requested": {"pending": "pending", "running": "running", "held": "held"},
        "run_held": {"pending": "held", "running": "held"},
        "run_released": {"held": "running"},
        "run_completed": {"running": "completed"},
        "run_failed": {"running": "failed"},
        "run_cancelled": {"pending": "cancelled", "running": "cancelled", "held": "cancelled"},
    },
    STEP.name: {
        "step_created": {None: "pending"},
        "step_started": {"pending": "running", "running": "running", "cancelled": "cancelled"},
        "step_retrying": {"running": "pending", "cancelled": "cancelled"},
        "step_completed": {"pending": "completed", "running": "completed", "cancelled": "cancelled"},
        "step_failed": {"pending": "failed", "running": "failed", "cancelled": "cancelled"},
        "step_cancelled": {
            "pending": "cancelled",
            "running": "cancelled",
            "completed": "completed",
            "failed": "failed",
        },
    },
    HOOK.name: {
        "hook_created": {None: "open"},
        "hook_conflict": {None: "conflict"},
        "hook_received": {"open": "open", "disposed": "disposed"},
        "hook_disposed": {"open": "disposed"},
    },
    WAIT.name: {
        "wait_created": {None: "waiting"},
        "wait_completed": {"waiting": "completed", "cancelled": "cancelled"},
        "wait_cancelled": {"waiting": "cancelled", "completed": "completed"},
    },
}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_every_pair_of_status_and_event_does_what_the_design_says(machine: Machine[Any]) -> None:
    statuses = {None, *machine.moves.values()}
    for status, event in product(statuses, MODELS):
        assert machine.after(status, event) == LEGAL[machine.name].get(event, {}).get(status), (status, event)


def test_the_end_of_a_run_is_final() -> None:
    assert not [move for move in RUN.moves if move[0] in FINISHED]
    assert set(RUN.moves.values()) == FINISHED | UNFINISHED


def test_every_event_has_its_place_in_the_tables() -> None:
    of_runs = {event for _, event in RUN.moves}
    of_calls = {event for machine in (STEP, HOOK, WAIT) for _, event in machine.moves}
    assert of_runs | set(WHILE) == set(MODELS)
    assert of_runs.isdisjoint(WHILE)
    assert of_calls <= set(WHILE)
    assert set(WHILE) >= LATE


def test_the_page_shows_the_tables_as_they_are() -> None:
    shown = PAGE.read_text()
    assert diagrams() in shown, (
        "print the diagrams with `python -m headwater.runs.diagrams`, and put them there"
    )
    assert len(re.findall("```mermaid", shown)) == len(MACHINES)


def test_the_diagrams_can_be_printed() -> None:
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-m", "headwater.runs.diagrams"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == diagrams()
