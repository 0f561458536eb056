"""Histories as files: what is written is what is read."""

import json

import pytest

from headwater import Log, open_log
from headwater.errors import PayloadRefused, UnknownEventType
from headwater.runs.events import RunCreated
from headwater.runs.history_file import fact_of, history_line, read_events, read_histories
from headwater.runs.state import RunState, apply
from headwater.runs.store import NewRun, Runs


async def lines_of(log: Log, run: str) -> list[str]:
    return [history_line(recorded) async for recorded in Runs(log).events(run)]


async def written() -> tuple[list[str], list[str], RunState]:
    """The lines of two runs, and the state of the first."""
    async with open_log("memory:") as log:
        runs = Runs(log)
        await runs.create(
            NewRun(id="a", workflow="w", input={"evil": "\ud800\0\u202e"}), NewRun(id="b", workflow="w")
        )
        await runs.cancel("a", reason="no")
        return await lines_of(log, "a"), await lines_of(log, "b"), await runs.get("a")


async def test_a_history_reads_as_it_was_written() -> None:
    a, _, state = await written()
    async with open_log("memory:") as log:
        runs = Runs(log)
        await runs.create(NewRun(id="a", workflow="w", input={"evil": "\ud800\0\u202e"}))
        [fact] = [fact_of(recorded) async for recorded in runs.events("a")]
    [history] = read_histories(a)
    assert (history.run, history.tenant) == ("a", "default")
    assert [f.version for f in history.facts] == [1, 2, 3]
    assert history.facts[0].event == fact.event
    assert isinstance(fact.event, RunCreated)
    folded = RunState()
    for recorded in read_events(a):
        folded = apply(folded, recorded)
    assert folded == state


async def test_lines_are_ascii_and_histories_may_be_put_together() -> None:
    a, b, _ = await written()
    assert all(line.isascii() and line.isprintable() for line in [*a, *b])
    found = read_histories([a[0], *b, "\n", *a[1:]])
    assert [(history.run, len(history.facts)) for history in found] == [("a", 3), ("b", 1)]


async def test_a_gap_a_repetition_and_a_line_of_something_else_are_refused() -> None:
    a, _, _ = await written()
    for lines, why in (
        ([a[0], a[2]], "goes on with version 3 after 1"),
        ([a[0], a[0]], "goes on with version 1 after 1"),
        ([a[0], "{"], "Line 2 is not an event"),
        (["[]"], "has no data"),
        (["7"], "Line 1 is not an event"),
        ([json.dumps({**json.loads(a[0]), "recorded_at": "yesterday"})], "Line 1"),
    ):
        with pytest.raises(PayloadRefused, match=why):
            read_histories(lines)
    with pytest.raises(UnknownEventType):
        read_histories([json.dumps({**json.loads(a[0]), "type": "order_placed"})])
