"""Workers on one file: who only looks waits for nobody, and many orphans are freed at once."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from headwater.errors import LogUnavailable
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.ownership import WorkerRow
from headwater.log.side import OpenFence, PutReady, SideRow, Wake
from headwater.log.sqlite.backend import SqliteBackend
from headwater.log.write import Write

WORKER = WorkerRow("w", "here", 10**7, b"")
RUN = Stream("run", "1")


async def test_a_worker_that_finds_nothing_to_claim_waits_for_no_writer(path: Path) -> None:
    async with Log(SqliteBackend(path, patience=0.05)) as log:
        await log.backend.enrol(WORKER)
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        assert await log.backend.take("w", ["paper"], 5) == []
        assert await log.backend.take("w", ["paper"], 5, suspects=True) == []
        assert await log.backend.woken("w") == []
        assert await log.backend.take_ready("w", {"q": 5}) == []
        other.execute("COMMIT")
        rows: list[SideRow] = [OpenFence("f", "paper"), Wake("f"), PutReady("q", "r")]
        await log.append(Write(RUN, [RawEvent("begun", None)], rows=rows))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogUnavailable):
            await log.backend.take("w", ["paper"], 5)
        with pytest.raises(LogUnavailable):
            await log.backend.take_ready("w", {"q": 5})
        other.execute("ROLLBACK")
        other.close()
        assert [fence.key for fence in await log.backend.take("w", ["paper"], 5)] == ["f"]
        assert [row.key for row in await log.backend.take_ready("w", {"q": 5})] == ["r"]


async def test_ten_thousand_orphans_are_freed_in_one_sweep(log: Log) -> None:
    async with log:
        await log.backend.enrol(WORKER)
        keys = [f"f{n}" for n in range(10_000)]
        for start in range(0, len(keys), 1000):
            rows = [OpenFence(key, "paper", holder="w") for key in keys[start : start + 1000]]
            await log.append(Write(RUN, [RawEvent("begun", None)], rows=rows))
        assert (await log.backend.sweep(dead=["w"])).fences == 10_000
        await log.backend.enrol(WORKER._replace(id="next"))
        assert len(await log.backend.take("next", ["paper"], 10_000, suspects=True)) == 5_000
