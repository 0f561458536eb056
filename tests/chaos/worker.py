"""One process in the storm: `worker.py write|read URL NAME PROMISES`. It may be killed at any moment and started again.

A writer tells facts numbered from 1, one stream a writer, and promises each number in its file when the log has
acknowledged it. Started again it goes on after its last promise; what was written but not promised has the same id. A
reader follows the log from the beginning and fails on a gap, a repeat or a time that goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

from headwater.errors import Trouble
from headwater.events.envelope import NewEvent, RawEvent, Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log, LogOptions
from headwater.log.open import backend_for
from headwater.log.side import SetDue
from headwater.log.write import Write
from headwater.testing.crash_points.scene import LATER

AT_ONCE = 8


def fact(name: str, number: int) -> Write:
    """The same write whenever it is made."""
    stream = Stream("storm", name)
    event = NewEvent(
        event=RawEvent("told", {"n": number}), id=derived_id(stream, str(number)), occurred_at=LATER
    )
    return Write(
        stream, [event], expect=number - 1, rows=[SetDue(f"{name}-{number % 10}", LATER, b"%d" % number)]
    )


async def write(url: str, name: str, promises: Path) -> None:
    """Tell facts for ever."""
    lanes = [f"{name}.{lane}" for lane in range(AT_ONCE)]
    last = dict.fromkeys(lanes, 0)
    if promises.exists():
        for line in promises.read_text().splitlines():
            if len(words := line.split()) == 6:
                last[words[0]] = max(last[words[0]], int(words[1]))
    file = os.open(promises, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def tell(log: Log, lane: str) -> None:
        number = last[lane] + 1
        while True:
            asked = time.monotonic_ns()
            try:
                [place] = await log.append(fact(lane, number))
            except Trouble:
                await asyncio.sleep(0.02)
                continue
            answered = time.monotonic_ns()
            line = f"{lane} {number} {place.position} {asked} {answered} {int(place.known[0])}\n"
            os.write(file, line.encode())
            number += 1

    while True:
        with contextlib.suppress(Trouble):
            async with Log(backend_for(url)) as log:
                await asyncio.gather(*[tell(log, lane) for lane in lanes])
        await asyncio.sleep(0.05)


async def read(url: str, name: str, promises: Path) -> None:
    """Follow the log for ever."""
    while True:
        position, recorded_at = 0, None
        with contextlib.suppress(Trouble):
            async with Log(backend_for(url), options=LogOptions(poll=0.05)) as log:
                async for event in log.subscribe():
                    if event.position != position + 1 or (recorded_at and event.recorded_at < recorded_at):
                        promises.write_text(f"{event!r} came after position {position}")
                        return
                    position, recorded_at = event.position, event.recorded_at
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    what, address, who, file = sys.argv[1:]
    asyncio.run({"write": write, "read": read}[what](address, who, Path(file)))
