"""`run show` as text: what is drawn of a folded history."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headwater.cli.run.drawing import draw, facts
from headwater.cli.run.texts import span
from headwater.events.clock import to_us
from headwater.runs import events as run
from headwater.runs.history_file import Fact
from headwater.runs.state import RunState, advance
from headwater.runs.timeline import Line, timeline

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
BUSY = run.ErrorInfo(type="BankBusy", message="try\x1b[31m later")


def history(*events: tuple[float, run.RunEvent]) -> list[Fact]:
    """Events at seconds after the start."""
    return [
        Fact(version, event, to_us(START + timedelta(seconds=at)))
        for version, (at, event) in enumerate(events, 1)
    ]


def fold(facts_: list[Fact]) -> RunState:
    state = RunState(run="order-1", tenant="default")
    for fact in facts_:
        state = advance(state, fact.event, START + timedelta(microseconds=fact.recorded_us - to_us(START)))
    return state


ORDER = history(
    (0, run.RunCreated(workflow="fulfil", input={"order": 1}, attributes={"shop": "berlin"})),
    (0, run.RunStarted(worker="w-one")),
    (0, run.RunStateChanged(call=1, name="state", to="charging")),
    (0, run.StepCreated(call=2, name="charge", input={})),
    (0, run.StepStarted(call=2, attempt=1, worker="w-one")),
    (2, run.StepRetrying(call=2, attempt=1, error=BUSY, retry_after=START + timedelta(seconds=4))),
    (4, run.StepStarted(call=2, attempt=2, worker="w-one")),
    (5, run.StepStarted(call=2, attempt=3, worker="w-two")),
    (6, run.StepCompleted(call=2, attempt=3, output="paid")),
    (6, run.HookCreated(call=3, token="approve:1")),
    (6, run.WaitCreated(call=4, until=START + timedelta(hours=1))),
    (8, run.HookReceived(call=3, payload={"by": "Ann"}, actor="ann")),
    (8, run.HookDisposed(call=3)),
    (8, run.WaitCancelled(call=4)),
    (8, run.StepCreated(call=5, name="ship", input={}, queue="vans")),
)
END = history((10, run.RunFailed(error=run.ErrorInfo(type="NoVan", message="none left"))))


def picture(facts_: list[Fact], seconds: float, width: int = 110) -> list[str]:
    now = START + timedelta(seconds=seconds)
    return "\n".join(draw(fold(facts_), timeline(facts_), now, width)).split("\n")


def row(lines: list[str], start: str) -> str:
    [found] = [line for line in lines if line.startswith(start)]
    return found


def bar(line: str) -> str:
    return line[34:86]


def test_attempts_are_told_apart_by_how_they_ended() -> None:
    [_, charge, *_] = timeline(ORDER)
    assert [(a.number, a.worker, a.outcome) for a in charge.attempts] == [
        (1, "w-one", "failed"),
        (2, "w-one", "cut off"),
        (3, "w-two", "completed"),
    ]
    assert charge.status == "completed"


def test_a_bar_shows_when_a_step_was_tried_and_when_it_waited() -> None:
    shown = bar(row(picture(ORDER, 10), "  2  charge"))
    inks = "".join(ink for ink, before in zip(shown, " " + shown, strict=False) if ink != before).strip()
    assert inks == "▒┄░█"
    assert shown.count("▒") == pytest.approx(shown.count("┄"), abs=2)  # two seconds each
    assert shown.rstrip() == shown[: shown.rindex("█") + 1]


def test_attempts_errors_and_workers_are_listed_and_cannot_steer_the_terminal() -> None:
    lines = [line.strip() for line in picture(ORDER, 10)]
    assert "0 ms  attempt 1 on w-one failed: BankBusy: try\\x1b[31m later" in lines
    assert "5.00 s  attempt 3 on w-two" in lines
    assert all(line.isprintable() for line in lines)


def test_a_hook_shows_when_its_payload_came_and_from_whom() -> None:
    lines = picture(ORDER, 10)
    shown = bar(row(lines, "  3  hook approve:1"))
    assert shown.count("◆") == 1
    assert shown.index("┄") < shown.index("◆")
    assert '8.00 s  {"by": "Ann"}  by ann' in [line.strip() for line in lines]


def test_what_is_open_goes_on_until_now_and_ends_with_the_run() -> None:
    going = row(picture(ORDER, 12), "  5  ship [vans]")
    assert going.endswith("4.00 s pending")
    over = row(picture([*ORDER, Fact(16, *END[0][1:])], 3600), "  5  ship [vans]")
    assert over.endswith("2.00 s cancelled")


def test_a_wait_says_when_it_ends_as_long_as_it_has_not() -> None:
    waiting = [fact for fact in ORDER if not isinstance(fact.event, run.WaitCancelled)]
    assert any("until 2026-01-31 13:00:00 UTC" in line for line in picture(waiting, 9))
    assert not any("until" in line for line in picture(ORDER, 9))


@pytest.mark.parametrize("width", [20, 60, 80, 110, 300])
@pytest.mark.parametrize("seconds", [0, 0.001, 10, 7.0 * 86400, 4e7])
def test_a_picture_fits_any_width_and_any_length(width: int, seconds: float) -> None:
    lines = picture(ORDER, seconds, width)
    axis = lines[1]
    assert len(axis) == max(width - 26, 54)
    for line in lines:
        if line.startswith("  2  charge"):
            assert set(line[34 : len(axis)]) <= set("▒┄░█ ")


def test_a_terminal_without_block_characters_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        encoding = "ascii"

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stdout", Plain())
    assert all(line.isascii() for line in picture(ORDER, 10))


def test_the_facts_of_a_run_are_said_first() -> None:
    ended = [*ORDER, Fact(16, *END[0][1:])]
    lines = list(facts(fold(ended)))
    assert lines[0] == "order-1  fulfil@1  failed in 10.00 s"
    assert "  attributes shop=berlin" in lines
    assert '  state      "charging"' in lines
    assert "  error      NoVan: none left" in lines
    assert not any(line.startswith("  output") for line in lines)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (run.RunHeld(reason="diverged", message="call 3"), "diverged: call 3"),
        (run.CancelRequested(reason="too late"), "too late"),
        (
            run.EventEmitted(call=6, name="order_paid", data={"cents": 7}, stream="order/1"),
            "emitted to order/1",
        ),
        (run.RunStateChanged(call=6, name="state", to="x", actor="ann"), '"x"  by ann'),
    ],
)
def test_what_happens_to_a_run_is_marked_where_it_happened(event: Any, text: str) -> None:
    lines = timeline([*ORDER, *history((9, event))])
    assert lines[-1] == Line(
        "mark",
        lines[-1].name,
        START + timedelta(seconds=9),
        None,
        "",
        lines[-1].ended_at,
        moments=lines[-1].moments,
    )
    [*_, shown, _] = picture([*ORDER, Fact(16, event, to_us(START + timedelta(seconds=9)))], 10)
    assert "◆" in bar(shown)
    assert text in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (59.9, "59.90 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text
