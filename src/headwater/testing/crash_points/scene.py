"""What is played while the process dies: one act for each way of writing to a log.

Each act can be played again, after it was broken off anywhere, and then has happened once: ids are derived, expected
versions are those of the first time, and what has no id asks first. So a life that plays the whole scene, after one
that died in it, must leave exactly what an undisturbed one leaves. Nothing here waits for time or draws a number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from headwater.errors import WrongVersion
from headwater.events.envelope import NewEvent, RawEvent, Recorded, StoredRow, Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log
from headwater.log.port import Release
from headwater.log.side import (
    ClearDue,
    ClearReady,
    Fence,
    GiveKey,
    NeedKey,
    OpenFence,
    PutReady,
    SetDue,
    SideRow,
    TakeKey,
    Wake,
)
from headwater.log.snapshots import Fold, Folder
from headwater.log.transfer import export_lines, import_lines
from headwater.log.write import NO_STREAM, Appended, Write

TENANT = "default"
LATER = datetime(2100, 1, 1, tzinfo=UTC)
ORDER, PARCEL, OTHERS = Stream("order", "1"), Stream("parcel", "1"), Stream("order", "1", "other")


@dataclass
class Scene:
    """The log that is written to, the one it is imported into, and who hears what was acknowledged."""

    log: Log
    copy: Callable[[], AbstractAsyncContextManager[Log]]
    table: str | None
    note: str
    acknowledged: Callable[[Sequence[Write], Sequence[Appended], int], None]
    claimed: Callable[[str, int], None]
    now: Callable[[], int]

    async def append(self, *writes: Write) -> list[Appended]:
        """Append, and tell the world that it is done."""
        asked = self.now()
        appended = await self.log.append(*writes)
        self.acknowledged(writes, appended, asked)
        return appended


def told(stream: Stream, key: str, count: int = 1, **more: Any) -> list[NewEvent]:
    """Events that are the same whenever they are told: only their time, which is no part of the fact, may differ."""
    return [
        NewEvent(event=RawEvent("told", {"what": key, "n": n}), id=derived_id(stream, key, n), **more)
        for n in range(count)
    ]


async def one_event(scene: Scene) -> None:
    await scene.append(Write(ORDER, told(ORDER, "first"), expect=NO_STREAM))


async def several_streams_of_a_tenant(scene: Scene) -> None:
    await scene.append(
        Write(ORDER, told(ORDER, "sent", 2), expect=1),
        Write(PARCEL, told(PARCEL, "packed", 2), expect=NO_STREAM),
        Write(ORDER, told(ORDER, "noted"), expect=3),
    )
    await scene.append(Write(OTHERS, told(OTHERS, "first"), expect=NO_STREAM))


async def side_rows(scene: Scene) -> None:
    rows: list[SideRow] = [
        TakeKey("k", "me"),
        TakeKey("given", "me"),
        OpenFence("f"),
        SetDue("d", LATER, b"1"),
    ]
    rows += [SetDue("cleared", LATER), PutReady("q", "r", b"2", 1, LATER), PutReady("q", "cleared", at=LATER)]
    await scene.append(Write(ORDER, told(ORDER, "guarded"), rows=rows))
    rows = [
        NeedKey("k", "me"),
        GiveKey("given", "me"),
        Wake("f"),
        SetDue("d", LATER, b"3"),
        ClearDue("cleared"),
    ]
    await scene.append(Write(PARCEL, told(PARCEL, "freed"), rows=[*rows, ClearReady("q", "cleared")]))


async def a_claim_and_a_fenced_append(scene: Scene) -> None:
    backend = scene.log.backend
    [claimed] = await backend.claim(TENANT, ["f"], "worker")
    scene.claimed(claimed.key, claimed.epoch)
    fence = Fence("f", claimed.epoch)
    await scene.append(Write(ORDER, told(ORDER, "owned"), expect=fence, rows=[SetDue("timer", LATER)]))
    [again] = await backend.claim(TENANT, ["f"], "worker")
    scene.claimed(again.key, again.epoch)
    assert await backend.release([Release(TENANT, "f", again.epoch, again.wakes)]) == [True]


async def a_large_payload(scene: Scene) -> None:
    noise = Random(1).randbytes(3_000).hex()
    large = NewEvent(event=RawEvent("attached", noise), id=derived_id(PARCEL, "large"))
    await scene.append(Write(PARCEL, [large], expect=3))


async def known_events_with_new_ones(scene: Scene) -> None:
    some = told(ORDER, "skip", 2)
    await scene.append(Write(ORDER, some[:1]))
    [appended] = await scene.append(Write(ORDER, some, known="skip"))
    assert appended.known[0]


async def the_same_again(scene: Scene) -> None:
    [appended] = await scene.append(Write(ORDER, told(ORDER, "first"), expect=NO_STREAM))
    assert appended.known == (True,)
    assert appended.position == 1


async def a_group_with_a_refusal(scene: Scene) -> None:
    late = [Write(Stream("late", str(n)), told(Stream("late", str(n)), "came")) for n in range(3)]
    wrong = Write(PARCEL, told(PARCEL, "wrong"), expect=NO_STREAM)
    outcomes = await asyncio.gather(
        scene.append(late[0]), scene.append(wrong), scene.append(late[1]), scene.append(late[2]),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(outcome) for outcome in outcomes] == [list, WrongVersion, list, list], outcomes


async def a_write_nobody_waits_for(scene: Scene) -> None:
    quiet = Write(ORDER, told(ORDER, "quiet", occurred_at=LATER))
    pending = await scene.log.submit(quiet)
    await scene.append(Write(PARCEL, told(PARCEL, "awaited")))
    await pending


async def a_transaction_of_the_program(scene: Scene) -> None:
    events = told(ORDER, "in a transaction")
    if await scene.log.find(TENANT, *[event.id for event in events if event.id]):
        return  # the program's own row has no id by which it would be known
    async with scene.log.transaction() as transaction:
        if scene.table:
            await transaction.execute(scene.table)
        await transaction.execute(scene.note, "once")
        await transaction.append(Write(ORDER, events, rows=[SetDue("staged", LATER)]))


async def a_snapshot(scene: Scene) -> None:
    def count(state: int, _: Recorded) -> int:
        return state + 1

    fold, folder = Fold("count", int, 0, count), Folder(scene.log, every=1)
    state = await folder.state(ORDER, fold)
    await folder.settled()
    assert await folder.state(ORDER, fold) == state
    assert state.state == state.version


async def an_import(scene: Scene) -> None:
    lines = [line async for line in export_lines(scene.log)]
    async with scene.copy() as copy:
        if not (await copy.backend.tail(0)).position:
            await import_lines(copy, lines, _rebuild)


def _rebuild(row: StoredRow) -> Sequence[SideRow]:
    return [SetDue(str(row.position), LATER)] if row.type == "attached" else []


ACTS: Sequence[Callable[[Scene], Awaitable[None]]] = (
    one_event,
    several_streams_of_a_tenant,
    side_rows,
    a_claim_and_a_fenced_append,
    a_large_payload,
    known_events_with_new_ones,
    the_same_again,
    a_group_with_a_refusal,
    a_write_nobody_waits_for,
    a_transaction_of_the_program,
    a_snapshot,
    an_import,
)


async def picture(log: Log) -> dict[str, Any]:
    """What a log holds, without what may differ between two lives: times, digests, epochs."""
    backend = log.backend
    events = [[e.position, str(e.stream), e.version, str(e.id), e.type, e.data] async for e in log.read()]
    fences = [[row.key, row.holder, row.wakes, row.seen] for row in await backend.fences(TENANT, ["f"])]
    return {
        "events": events,
        "keys": [list(row) for row in await backend.keys(TENANT)],
        "fences": fences,
        "due": [[row.key, row.at, row.data.hex()] for row in await backend.due(TENANT, by_now=False)],
        "ready": [[row.key, row.priority, row.data.hex()] for row in await backend.ready(TENANT, "q")],
    }
