"""A run as a picture in text: its facts, then a bar for each call on an axis of time.

    █ an attempt of a step    ▒ one that failed    ░ one that was cut off: cancelled, or its worker was gone
    ┄ waiting: for a timer, a payload, the next attempt, a worker    ◆ a payload, a state, a hold

A terminal that cannot show these gets ASCII.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, Literal

from headwater.cli.output import OUT, Colour, plain, plain_lines
from headwater.cli.run.listing import COLOURS
from headwater.cli.run.texts import span, value, worker_name
from headwater.runs.state import RunState
from headwater.runs.timeline import Attempt, Line, Moment

_INK: Final = {"full": "█", "failed": "▒", "cut": "░", "wait": "┄", "mark": "◆", "axis": "─", "tick": "┬"}
_ASCII: Final = {"full": "#", "failed": "x", "cut": "%", "wait": ".", "mark": "*", "axis": "-", "tick": "+"}
_TONES: Final[dict[str, Colour]] = {
    "full": "green",
    "failed": "red",
    "cut": "yellow",
    "wait": "dim",
    "mark": "cyan",
}
_LEAST: Final = 20
_NAMES: Final = 34
_AFTER: Final = 24
_STEPS: Final = (1, 2, 5)

Ink = Literal["", "full", "failed", "cut", "wait", "mark"]


def facts(state: RunState) -> Iterator[str]:
    """What a run is, line by line."""
    until = state.ended_at or state.created_at
    took = f" in {span(until - state.created_at)}" if state.ended_at and state.created_at and until else ""
    status = OUT.paint(f"{state.status}{took}", COLOURS[state.status])
    yield f"{OUT.paint(plain(state.run), 'bold')}  {plain(state.workflow)}@{state.workflow_version}  {status}"
    rows: dict[str, str | None] = {
        "created": f"{state.created_at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC" if state.created_at else None,
        "tenant": plain(state.tenant) if state.tenant != "default" else None,
        "parent": state.parent and plain(state.parent),
        "held": plain(f"{state.held.reason}: {state.held.message}") if state.held else None,
        "asked": "to end" if state.cancel_requested and not state.finished else None,
        "attributes": "  ".join(f"{plain(k)}={plain(v)}" for k, v in state.attributes.items()) or None,
        "input": value(state.input),
        **{plain(name): value(data) for name, data in state.data.items()},
        "output": value(state.output) if state.status == "completed" else None,
        "error": plain(f"{state.error.type}: {state.error.message}") if state.error else None,
    }
    for name, text in rows.items():
        if text is not None:
            yield f"  {name:<11}{text}"
    if state.error and state.error.stack:
        yield OUT.paint(
            "\n".join(f"    {line}" for line in plain_lines(state.error.stack.rstrip()).split("\n")), "dim"
        )


def draw(state: RunState, lines: list[Line], now: datetime, width: int) -> Iterator[str]:
    """The picture of a run's calls. What has not ended goes on until `now`."""
    begin = state.created_at or now
    axis = Axis(begin, max([state.ended_at or now, *[_last(line, begin) for line in lines]]), width)
    yield axis.ruler()
    for line in lines:
        yield f"{_name(line)}{axis.bar(line)}  {_after(line, begin, axis.end)}".rstrip()
        if line.kind != "mark":
            yield from _below(line, begin)
    yield axis.legend()


class Axis:
    """Where a time is on the line."""

    def __init__(self, begin: datetime, end: datetime, width: int) -> None:
        self.begin, self.end = begin, max(end, begin + timedelta(milliseconds=1))
        self.columns = max(width - _NAMES - _AFTER - 2, _LEAST)
        self._ink = _INK if _can_show(_INK) else _ASCII

    def column(self, at: datetime) -> int:
        part = (at - self.begin) / (self.end - self.begin)
        return min(max(int(part * self.columns), 0), self.columns - 1)

    def ruler(self) -> str:
        """The axis, with a label at every tick that has room."""
        total = (self.end - self.begin).total_seconds()
        tick = _tick(total, self.columns)
        marks, labels = [self._ink["axis"]] * self.columns, [" "] * (self.columns + _AFTER)
        free = 0
        for number in range(int(total / tick) + 1):
            column = self.column(self.begin + timedelta(seconds=number * tick))
            marks[column] = self._ink["tick"]
            text = span(timedelta(seconds=number * tick)) if number else "0"
            if column >= free:
                labels[column : column + len(text)] = text
                free = column + len(text) + 2
        indent = " " * _NAMES
        return OUT.paint(f"{indent}{''.join(labels).rstrip()}\n{indent}{''.join(marks)}", "dim")

    def legend(self) -> str:
        words = {"full": "attempt", "failed": "failed", "cut": "cut off", "wait": "waiting", "mark": "event"}
        return OUT.paint(
            " " * 5 + "   ".join(f"{self._ink[ink]} {word}" for ink, word in words.items()), "dim"
        )

    def bar(self, line: Line) -> str:
        cells: list[Ink] = [""] * self.columns
        if line.kind != "mark":
            self._fill(cells, line.began_at, line.ended_at or self.end, "wait")
        if line.kind == "child":
            self._fill(cells, line.began_at, line.ended_at or self.end, "full")
        for attempt in line.attempts:
            self._fill(cells, attempt.started_at, attempt.ended_at or self.end, _ink_of(attempt))
        for moment in line.moments:
            cells[self.column(moment.at)] = "mark"
        return self._painted(cells)

    def _fill(self, cells: list[Ink], start: datetime, end: datetime, ink: Ink) -> None:
        for column in range(self.column(start), self.column(end) + 1):
            cells[column] = ink

    def _painted(self, cells: list[Ink]) -> str:
        text, at = "", 0
        while at < len(cells):
            end = at
            while end < len(cells) and cells[end] == cells[at]:
                end += 1
            ink, length = cells[at], end - at
            text += OUT.paint(self._ink[ink] * length, _TONES[ink]) if ink else " " * length
            at = end
        return text


def _ink_of(attempt: Attempt) -> Ink:
    match attempt.outcome:
        case "completed" | "running":
            return "full"
        case "failed":
            return "failed"
        case "cut off" | "cancelled":
            return "cut"


def _name(line: Line) -> str:
    call = "" if line.call is None else str(line.call)
    what = line.name if line.kind in {"step", "mark"} else f"{line.kind} {line.name}".rstrip()
    text = plain(what) + (f" [{plain(line.queue)}]" if line.queue else "")
    room = _NAMES - 6
    text = text if len(text) <= room else f"{text[: room - 1]}…"
    return f"{call:>3}  {text:<{room}} "


def _after(line: Line, begin: datetime, end: datetime) -> str:
    """Behind the bar: how long, and what became of it."""
    if line.kind == "mark":
        return f"{span(line.began_at - begin):>8}  {_said(line.moments[0])}"
    length = span((line.ended_at or end) - line.began_at)
    tries = f", {len(line.attempts)} attempts" if len(line.attempts) > 1 else ""
    tone: Colour = "red" if line.status in {"failed", "conflict"} else "dim"
    shown = line.status if line.status not in {"completed", "received"} else ""
    return f"{length:>8}{tries} {OUT.paint(shown, tone) if shown else ''}".rstrip()


def _below(line: Line, begin: datetime) -> Iterator[str]:
    """Under the bar: attempts and payloads, each with its time."""
    indent = " " * 7
    attempts = line.attempts if len(line.attempts) > 1 or any(a.error for a in line.attempts) else []
    for attempt in attempts:
        text = f"{span(attempt.started_at - begin):>8}  attempt {attempt.number} on {worker_name(attempt.worker)}"
        if attempt.outcome not in {"completed", "running"}:
            text += f" {attempt.outcome}"
        if attempt.error is not None:
            text += plain(f": {attempt.error.type}: {attempt.error.message}")
        yield OUT.paint(f"{indent}{text}", "dim")
    if line.retry_after is not None:
        yield OUT.paint(f"{indent}{span(line.retry_after - begin):>8}  next attempt", "dim")
    if line.kind == "wait" and line.until is not None and line.ended_at is None:
        yield OUT.paint(f"{indent}until {line.until:%Y-%m-%d %H:%M:%S} UTC", "dim")
    for moment in line.moments:
        yield OUT.paint(f"{indent}{span(moment.at - begin):>8}  {_said(moment)}", "dim")


def _said(moment: Moment) -> str:
    data = value(moment.data, 60) if moment.data is not None else ""
    return "  ".join(part for part in (data, plain(moment.text)) if part)


def _last(line: Line, begin: datetime) -> datetime:
    return max([line.ended_at or begin, *[attempt.ended_at or begin for attempt in line.attempts]])


def _tick(total: float, columns: int) -> float:
    """The length between two ticks: 1, 2 or 5 of a power of ten, for about ten columns each."""
    wanted = total * 12 / columns
    power = 10.0**-3
    while True:
        for step in _STEPS:
            if step * power >= wanted:
                return step * power
        power *= 10


def _can_show(ink: dict[str, str]) -> bool:
    try:
        "".join(ink.values()).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
