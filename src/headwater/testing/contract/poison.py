"""The contract of the door: what cannot be kept is refused there, and what looks odd but is data survives."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from headwater.errors import InvalidName, PayloadRefused, Refused
from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.log.log import Log, LogOptions
from headwater.log.prepare import Limits
from headwater.log.side import OpenFence, PutReady, SetDue, SideRow, TakeKey, Wake
from headwater.log.write import Write
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, Noted, everything, raw, refused, write
from headwater.testing.contract.site import Site

ODD = [
    "",
    "\x00",
    "a\x00b\x00",
    "\ud800",
    "\udfff and \ud83d",
    "\x00\ud800\x00",
    "\U0001f409 \u202e \ufeff \uffff",
    "\r\n\t\x7f\x1b[31m",
    "'; DROP TABLE events; --",
    "\\u0000 \\ud800",
    "\N{LATIN SMALL LETTER E WITH ACUTE} e\u0301",
]


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


class PoisonContract:
    @behaviour()
    async def test_odd_text_survives_typed_and_raw(self, site: Site) -> None:
        facts = [Noted(text=text, more=[text, {"again": text}]) for text in ODD]
        plain = [RawEvent("odd", {text: {"again": text}}) for text in ODD]
        async with site.open() as log:
            await log.append(Write(ONE, [*facts, *plain, NewEvent(event=raw(), metadata={"odd": list(ODD)})]))
        async with site.open() as log:
            events = await everything(log)
            assert [event.event for event in events[: len(ODD)]] == facts
            assert [event.data for event in events[len(ODD) : -1]] == [event.data for event in plain]
            assert events[-1].metadata == {"odd": ODD}

    @behaviour()
    async def test_stored_bytes_come_back_as_they_were_written(self, site: Site) -> None:
        async with site.open() as log:
            mine = Write(ONE, [NewEvent(event=Noted(text=text), metadata={"m": text}) for text in ODD])
            await log.append(mine)
            assert mine.prepared is not None
            rows = [event.row async for event in log.stream(ONE)]
            assert [(row[17], row[18]) for row in rows] == [
                (r.data, r.metadata) for r in mine.prepared[0].rows
            ]

    @behaviour()
    async def test_numbers_survive(self, site: Site) -> None:
        numbers: list[Any] = [0, -1, 2**53, 2**63 - 1, -(2**63), 0.1, 1e308, 5e-324, -0.0, True, None]
        async with site.open() as log:
            await log.append(Write(ONE, [RawEvent("numbers", numbers), Noted(more=numbers)]))
            plain, typed = await everything(log)
            assert repr(plain.data) == repr(typed.data["more"]) == repr(numbers)

    @behaviour()
    async def test_depth_that_is_allowed_survives(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(Write(ONE, [Noted(more=nested(150)), RawEvent("deep", nested(150))]))
            typed, plain = await everything(log)
            assert typed.event == Noted(more=nested(150))
            assert plain.data == nested(150)

    @behaviour()
    async def test_what_json_cannot_say_is_refused(self, site: Site) -> None:
        naive = datetime(2020, 1, 1)  # noqa: DTZ001
        poison: list[Any] = [
            *(float("nan"), float("inf"), -float("inf"), naive, nested(10_000), {1: "one"}, {None: 1}),
            *(object(), b"bytes", {1, 2}, 2**70, {"x": [{"y": float("nan")}]}, datetime.now(UTC)),
        ]
        async with site.open() as log:
            for value in poison:
                await _refused_everywhere(log, RawEvent("poison", value))
                await refused(PayloadRefused, log, Write(ONE, [NewEvent(event=raw(), metadata={"m": value})]))
            for value in (float("nan"), naive, nested(10_000), object(), [float("inf")]):
                await _refused_everywhere(log, Noted(more=value))
            assert (await log.head()).position == 0

    @behaviour()
    async def test_times_without_a_zone_are_refused(self, site: Site) -> None:
        naive = datetime(2020, 1, 1)  # noqa: DTZ001
        async with site.open() as log:
            await refused(PayloadRefused, log, Write(ONE, [NewEvent(event=raw(), occurred_at=naive)]))
            await refused(PayloadRefused, log, write(ONE, SetDue("d", naive)))
            await refused(PayloadRefused, log, write(ONE, PutReady("q", "r", at=naive)))

    @behaviour()
    async def test_what_is_too_large_is_refused(self, site: Site) -> None:
        large = "x" * 5000
        async with site.open(
            options=LogOptions(limits=Limits(inline=1000, payload=5000, side_row=100))
        ) as log:
            await _refused_everywhere(log, Noted(text=large))
            await _refused_everywhere(log, RawEvent("large", large))
            await refused(PayloadRefused, log, Write(ONE, [NewEvent(event=raw(), metadata={"m": large})]))
            await refused(PayloadRefused, log, write(ONE, SetDue("d", datetime.now(UTC), b"x" * 101)))
            await refused(PayloadRefused, log, write(ONE, PutReady("q", "r", b"x" * 101)))
            await log.append(Write(ONE, [Noted(text=large[:4900])]))

    @behaviour()
    async def test_bad_names_are_refused(self, site: Site) -> None:
        bad = ["", " ", "1st", "a b", "a\x00", "a\ud800", "a" * 129, "naïve", "a;b", "a\n", "../etc"]
        ids = ["", "a\x00", "a\ud800", "x" * 513, "\U0001f409" * 257, "a\nb", "\u200b"]
        streams = [*[Stream(name, "x") for name in bad], *[Stream("paper", id) for id in ids]]
        streams += [Stream("paper", "x", tenant) for tenant in ids]
        async with site.open() as log:
            for stream in streams:
                await refused(InvalidName, log, write(stream))
            for name in bad:
                await refused(InvalidName, log, Write(ONE, [RawEvent(name, 1)]))
            for id in ids:
                for row in _rows(id):
                    await refused(InvalidName, log, write(ONE, row))
                for event in _envelopes(id):
                    await refused(InvalidName, log, Write(ONE, [event]))
            for queue in bad:
                await refused(InvalidName, log, write(ONE, PutReady(queue, "r")))

    @behaviour()
    async def test_numbers_out_of_range_are_refused(self, site: Site) -> None:
        async with site.open() as log:
            versions = (-1, 0, 2**31, 2**70)
            wrong: list[RawEvent | NewEvent] = [RawEvent("counted", 1, schema_version=v) for v in versions]
            wrong += [NewEvent(event=raw(), spec_version=v) for v in versions]
            for event in wrong:
                await refused(Refused, log, Write(ONE, [event]))
            for priority in (-(2**31) - 1, 2**31, 2**70):
                await refused(Refused, log, write(ONE, PutReady("q", "r", priority=priority)))
            with pytest.raises(PayloadRefused):
                write(ONE, expect=-2)

    @behaviour()
    async def test_one_bad_event_refuses_its_whole_call_and_no_other(self, site: Site) -> None:
        bad = RawEvent("poison", float("nan"))
        async with site.open() as log:
            outcomes = await asyncio.gather(
                log.append(Write(ONE, [raw(), bad, raw()], rows=[TakeKey("k", "me")])),
                log.append(write(ONE), Write(ONE, [bad])),
                log.append(write(ONE)),
                return_exceptions=True,
            )
            assert [isinstance(outcome, PayloadRefused) for outcome in outcomes] == [True, True, False]
            assert await log.version(ONE) == 1
            assert await log.backend.keys("default") == []


def _envelopes(id: str) -> list[NewEvent]:
    return [
        NewEvent(event=raw(), run_id=id),
        NewEvent(event=raw(), correlation_id=id),
        NewEvent(event=raw(), causation_id=id),
        NewEvent(event=raw(), actor=id),
        NewEvent(event=raw(), traceparent=id),
    ]


def _rows(id: str) -> list[SideRow]:
    return [
        TakeKey(id, "me"),
        TakeKey("k", id),
        OpenFence(id),
        Wake(id),
        SetDue(id, datetime.now(UTC)),
        PutReady("q", id),
    ]


async def _refused_everywhere(log: Log, event: Noted | RawEvent) -> None:
    await refused(PayloadRefused, log, Write(ONE, [event]))
    await refused(PayloadRefused, log, Write(ONE, [raw(), event]), write(ONE))
