"""Several processes on one file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headwater.errors import LogUnavailable
from headwater.events.envelope import RawEvent, Stream
from headwater.log.log import Log
from headwater.log.sqlite.backend import SqliteBackend
from headwater.log.verify import verify
from headwater.log.write import Write
from tests.integration.sqlite.conftest import Start


@pytest.mark.parametrize("processes", [2, 4])
async def test_processes_append_and_read_at_once_without_a_gap_or_an_error(
    path: Path, log: Log, start: Start, processes: int
) -> None:
    each = 150
    total = processes * 4 * each
    async with log:
        reader = start("read", path, total)
        writers = [start("append", path, f"p{number}", each) for number in range(processes)]
        acknowledged: list[int] = []
        for writer in writers:
            said, _ = await asyncio.to_thread(writer.communicate)
            assert writer.returncode == 0
            acknowledged += map(int, said.split())
        assert await asyncio.to_thread(reader.wait) == 0
        assert sorted(acknowledged) == list(range(1, total + 1))
        assert (await verify(log)).place.position == total


async def test_what_was_acknowledged_before_kill_9_is_there_and_the_log_goes_on(
    path: Path, log: Log, start: Start
) -> None:
    for _ in range(3):
        writer = start("append", path, "victim", 100_000)
        assert writer.stdout is not None
        acknowledged = [int(await asyncio.to_thread(writer.stdout.readline)) for _ in range(50)]
        writer.kill()
        said = await asyncio.to_thread(writer.stdout.read)
        acknowledged += [int(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]
        async with Log(SqliteBackend(path)) as after:
            place = (await verify(after)).place
            assert place.position >= max(acknowledged)
            (appended,) = await after.append(Write(Stream("order", "1"), [RawEvent("order.placed", 1)]))
            assert appended.position == place.position + 1


async def test_processes_that_begin_one_log_at_once_all_open_it(tmp_path: Path, start: Start) -> None:
    times = 40
    processes = [start("begin", tmp_path, times) for _ in range(4)]
    for _ in range(times):
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "nothing\n"


async def test_an_append_waits_for_another_process_that_writes(path: Path, log: Log, start: Start) -> None:
    async with log:
        holder = start("hold", path)
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
        append = asyncio.create_task(log.append(Write(Stream("order", "1"), [RawEvent("order.placed", 1)])))
        assert not await log.version(Stream("order", "1"))  # reads do not wait
        done, _ = await asyncio.wait([append], timeout=0.2)
        assert not done
        holder.stdin.write("\n")
        holder.stdin.flush()
        (appended,) = await append
        assert appended.position == 1


async def test_a_claim_says_that_the_log_is_unavailable_when_patience_is_over(
    path: Path, start: Start
) -> None:
    backend = SqliteBackend(path, patience=0.05)
    await backend.open()
    holder = start("hold", path)
    assert holder.stdout is not None
    assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
    with pytest.raises(LogUnavailable, match="another process"):
        await backend.claim("default", ["run-1"], "worker")
    await backend.close()


async def test_a_forked_child_can_neither_use_nor_open_the_log(path: Path, start: Start) -> None:
    said, _ = await asyncio.to_thread(start("fork", path).communicate)
    assert said.split() == ["NotSupported", "NotSupported"]
    async with Log(SqliteBackend(path)) as log:
        assert (await verify(log)).place.position == 1


async def test_the_last_process_to_close_leaves_only_the_file(path: Path, log: Log) -> None:
    other = Log(SqliteBackend(path))
    async with other:
        async with log:
            await log.append(Write(Stream("order", "1"), [RawEvent("order.placed", 1)]))
        await other.append(Write(Stream("order", "1"), [RawEvent("order.placed", 2)]))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
