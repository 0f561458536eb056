"""A lane: one connection, and the jobs that are on their way when it is closed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

import apsw
import pytest

from headwater.log.sqlite.connections import Lane
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.opening import connect


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_job_that_is_on_its_way_when_the_lane_is_closed_leaves_no_connection_open(
    path: Path, given_up: bool
) -> None:
    """Also where its caller has given up, and nobody but the thread knows that a connection is being opened."""
    opening, go_on = Event(), Event()

    def opener() -> Database:
        opening.set()
        go_on.wait()
        return connect(path)

    lane = Lane(path, opener, patience=5.0, in_thread=True)
    first = asyncio.create_task(lane.run(lambda connection: connection.pragma("journal_mode")))
    await asyncio.to_thread(opening.wait)
    if given_up:
        first.cancel()
        await asyncio.wait([first])
    closing = asyncio.create_task(lane.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert [one.filename for one in apsw.connections() if one.filename == str(path.resolve())] == []
    if not given_up:
        assert await first
