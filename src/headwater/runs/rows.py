"""How a run is found: the names of the rows that stand for it beside its events.

A run has one fence, from its creation to its end, under a label that says which code can go on with it; a due row for
each wait that is pending, a key for each hook that is open, a ready row for each step that waits in a queue, and an
entry in the list of runs. All of them follow from its events; `rebuild` makes those of an imported log anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from headwater.events.canonical import encode_json
from headwater.events.envelope import SPEC_VERSION_CURRENT, SPEC_VERSION_LEGACY, Stream
from headwater.log.side import ClearDue, CloseFence, GiveKey, SideRow, WithdrawReady

STREAM_TYPE = "run"
LIST = "runs"
DEFAULT_TENANT = "default"


def run_stream(run: str, tenant: str = DEFAULT_TENANT) -> Stream:
    return Stream(STREAM_TYPE, run, tenant)


def fence_key(run: str) -> str:
    return f"run/{run}"


def run_of_fence(key: str) -> str:
    return key.removeprefix("run/")


def label_of(workflow: str, version: int, spec: int = SPEC_VERSION_CURRENT) -> str:
    """Which runs a worker may take: workflow, its version, and the protocol in which the run is written."""
    return f"{workflow}@{version}~{spec}"


def spec_of_label(label: str) -> int:
    """The protocol that a fence's label names; a label without one is older than labels."""
    _, _, spec = label.rpartition("~")
    return int(spec) if spec.isdecimal() else SPEC_VERSION_LEGACY


def due_key(run: str, call: int) -> str:
    return f"wait/{call}/{run}"


def call_of_due(key: str) -> tuple[int, str]:
    """The call and the run of a wait's due row."""
    _, call, run = key.split("/", 2)
    return int(call), run


def token_key(token: str) -> str:
    return f"hook/{token}"


class HookPlace(NamedTuple):
    """Who holds a token: the run and its call."""

    run: str
    call: int

    def __str__(self) -> str:
        return f"{self.call}/{self.run}"

    @classmethod
    def parse(cls, holder: str) -> HookPlace:
        call, _, run = holder.partition("/")
        return cls(run, int(call))


def ready_key(run: str, call: int) -> str:
    return f"{call}/{run}"


def call_of_ready(key: str) -> tuple[int, str]:
    call, _, run = key.partition("/")
    return int(call), run


def ready_data(run: str, call: int, attempt: int) -> bytes:
    """What a ready row says: which attempt of which call is next."""
    return encode_json({"run": run, "call": call, "attempt": attempt}, "ready row")


def open_rows_back(
    run: str, tokens: Mapping[int, str], waits: Iterable[int], queued: Mapping[int, str]
) -> list[SideRow]:
    """The rows that give back what a run holds open: keys by call, due rows by call, ready rows by call and queue."""
    return [
        *[
            GiveKey(token_key(token), str(HookPlace(run, call)), missing_ok=True)
            for call, token in tokens.items()
        ],
        *[ClearDue(due_key(run, call), missing_ok=True) for call in waits],
        *[WithdrawReady(queue, ready_key(run, call)) for call, queue in queued.items()],
    ]


def end_rows(
    run: str, tokens: Mapping[int, str], waits: Iterable[int], queued: Mapping[int, str]
) -> list[SideRow]:
    """The rows of a run's end, but for its entry: what it holds open, and its fence."""
    return [*open_rows_back(run, tokens, waits, queued), CloseFence(fence_key(run))]
