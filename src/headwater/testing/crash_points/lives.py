"""The lives of a process: one that plays the scene and may die in it, and one that comes after and finds what is there.

What is acknowledged is written to a file, which outlives the process, before and after a point of its own: whatever
stands there was promised to somebody. The life after holds the log to it, plays the whole scene again, and then the
log must be what an undisturbed life leaves.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from headwater.log.log import Log, LogOptions
from headwater.log.prepare import Limits
from headwater.log.transfer import export_lines
from headwater.log.verify import verify
from headwater.log.write import Appended, Write
from headwater.testing.crash_points.points import Points
from headwater.testing.crash_points.scene import ACTS, TENANT, Scene, picture
from headwater.testing.crash_points.stage import Stage, load
from headwater.testing.invariants import Acknowledged, InvariantBroken, check, check_idle

# No timer of its own: a quiet write rides with the next one. A payload is large when it has 2 KiB.
_OPTIONS = LogOptions(linger=3600, limits=Limits(inline=2048))


class _Promises:
    """What was acknowledged, kept where death does not reach it."""

    def __init__(self, file: Path, points: Points | None = None) -> None:
        self._points = points
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def appended(self, writes: Sequence[Write], appended: Sequence[Appended], asked: int) -> None:
        answered = time.monotonic_ns()
        for write, place in zip(writes, appended, strict=True):
            rows = write.prepared[0].rows if write.prepared else ()
            for row, position, version, known in zip(
                rows, place.positions, place.versions, place.known, strict=True
            ):
                self._tell(
                    "event", write.stream.tenant, row.event_id.hex, position, version, asked, answered, known
                )

    def claimed(self, key: str, epoch: int) -> None:
        self._tell("epoch", key, epoch)

    def _tell(self, *facts: Any) -> None:
        if self._points is None:
            return
        with self._points.around(f"acknowledging {facts[0]}"):
            os.write(self._file, json.dumps(facts).encode() + b"\n")


def live(
    stage: str, arguments: dict[str, Any], plant: str | None, die_at: int, points: str, promises: str
) -> None:
    """Play the scene on an empty stage, and die at a point (0: at none)."""
    place: Stage = load(stage)(**arguments)
    place.clear()
    Path(promises).unlink(missing_ok=True)
    counter = Points(Path(points), die_at=die_at)
    if plant:
        load(plant)()
    place.tap(counter)
    asyncio.run(_live(place, _Promises(Path(promises), counter), counter))
    counter.leave()


def go_on(stage: str, arguments: dict[str, Any], plant: str | None, promises: str, expected: str) -> None:
    """Find the log as the last life left it; hold it to its promises, play the scene again, and compare."""
    place: Stage = load(stage)(**arguments)
    if plant:
        load(plant)()
    asyncio.run(_go_on(place, Path(promises), Path(expected)))


async def _live(place: Stage, promises: _Promises, points: Points) -> None:
    points.act = "open"
    async with Log(place.backend("main"), options=_OPTIONS) as log:
        for act in ACTS:
            points.act = act.__name__
            await act(_scene(place, log, promises))
        points.act = "close"


async def _go_on(place: Stage, promises: Path, expected: Path) -> None:
    said = [json.loads(line) for line in promises.read_text().splitlines()] if promises.exists() else []
    unheard = _Promises(promises)
    before = _open_files()
    async with Log(place.backend("main"), options=_OPTIONS) as log:
        await check(log, [Acknowledged(f[1], UUID(f[2]), *f[3:]) for f in said if f[0] == "event"])
        for act in ACTS:
            await act(_scene(place, log, unheard))
        await _check_epochs(log, [(f[1], f[2]) for f in said if f[0] == "epoch"])
        await verify(log)
        found: dict[str, Any] = {"main": await picture(log)}
        async with Log(place.backend("copy"), options=_OPTIONS) as copy:
            found["copy"] = await picture(copy)
            _same(
                "the export of the imported log",
                [line async for line in export_lines(copy)],
                [line async for line in export_lines(log)],
            )
    await check_idle()
    if left := _open_files() - before:
        raise InvariantBroken("I8", "files or connections are left open", left=sorted(left.elements()))
    found["notes"] = sorted(await place.notes())
    if not expected.exists():
        expected.write_text(json.dumps(found))
    wanted = json.loads(expected.read_text())
    for name in ("main", "copy"):
        for what, rows in wanted[name].items():
            _same(f"{what} of {name}", found[name][what], rows)
    _same("notes", found["notes"], wanted["notes"])
    _same("what closed logs leave", place.leftovers(), [])


def _scene(place: Stage, log: Log, promises: _Promises) -> Scene:
    return Scene(
        log,
        lambda: Log(place.backend("copy"), options=_OPTIONS),
        place.table,
        place.note,
        promises.appended,
        promises.claimed,
        time.monotonic_ns,
    )


async def _check_epochs(log: Log, claimed: Sequence[tuple[str, int]]) -> None:
    for key, epoch in claimed:
        [fence] = await log.backend.fences(TENANT, [key])
        if fence[2] < epoch:
            raise InvariantBroken("I1", "a claim is forgotten", key=key, claimed=epoch, found=fence[2])


def _open_files() -> Counter[str]:
    """What this process has open, where the system tells; the C library looks at /proc now and then."""
    folder = Path("/proc/self/fd")
    links = list(folder.iterdir()) if folder.is_dir() else []
    names = [os.readlink(link) for link in links if link.is_symlink()]
    return Counter(name for name in names if not name.startswith("/proc/"))


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise InvariantBroken(
            "exactly once", f"{what} is not what an undisturbed life leaves", found=found, wanted=wanted
        )
