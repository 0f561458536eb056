"""Processes that watch processes: `up` and `worker --processes`, with their metrics, their deaths and their ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from headwater.cli.workers import children_of

WHERE = "tests.integration.server.shop:app"


class Command:
    """A command of ours, and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []
        self._new = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(json.loads(line))
            self._new.set()

    async def until(self, times: int = 1, **wanted: Any) -> dict[str, Any]:
        """The n-th thing that it says with these values."""
        async with asyncio.timeout(40):
            while True:
                found = [one for one in self.said if wanted.items() <= one.items()]
                if len(found) >= times:
                    return found[times - 1]
                self._new.clear()
                await self._new.wait()

    async def end(self, sign: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(sign)
        async with asyncio.timeout(40):
            code = await self.process.wait()
            await self._task
        return code


@asynccontextmanager
async def command(tmp_path: Path, *arguments: str) -> AsyncIterator[Command]:
    url = f"sqlite:///{tmp_path}/log.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headwater", "--json", "--url", url, *arguments,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )  # fmt: skip
    running = Command(process)
    try:
        yield running
    finally:
        await running.end()


def gone(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


async def test_up_serves_and_works_and_one_signal_ends_both(tmp_path: Path) -> None:
    async with command(tmp_path, "up", WHERE, "--port", "0") as up:
        served = await up.until(process="server", event="serving")
        worked = await up.until(process="worker", event="serving")
        async with httpx.AsyncClient(base_url=served["address"], timeout=20) as http:
            run = (await http.post("/api/v1/runs", json={"workflow": "fulfil", "input": {"order": 1}})).json()
            done = (await http.get(f"/api/v1/runs/{run['run']}/result")).json()
            assert done["output"] == "charged 1"
        assert await up.end(signal.SIGINT) == 0
        assert gone(served["pid"])
        assert gone(worked["pid"])
        assert {"process": "worker", "event": "stopped", "worker": worked["worker"]} in up.said
        assert {"process": "server", "event": "stopped"} in up.said


async def test_what_dies_is_started_again(tmp_path: Path) -> None:
    async with command(tmp_path, "up", WHERE, "--port", "0") as up:
        first = await up.until(process="worker", event="serving")
        os.kill(first["pid"], signal.SIGKILL)
        second = await up.until(2, process="worker", event="serving")
        assert second["pid"] != first["pid"]


async def test_children_of_a_command_that_is_killed_stop_by_themselves(tmp_path: Path) -> None:
    async with command(tmp_path, "up", WHERE, "--port", "0") as up:
        pids = [(await up.until(process=name, event="serving"))["pid"] for name in ("server", "worker")]
        up.process.kill()
        async with asyncio.timeout(20):
            while not all(map(gone, pids)):
                await asyncio.sleep(0.05)


async def test_what_cannot_be_started_ends_the_command(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with command(tmp_path, "up", WHERE, "--port", str(taken.getsockname()[1])) as up:
            async with asyncio.timeout(40):
                assert await up.process.wait() == 2


@pytest.mark.parametrize("processes", [1, 2])
async def test_metrics_of_all_processes_are_at_one_port(tmp_path: Path, processes: int) -> None:
    arguments = ["worker", WHERE, "--processes", str(processes), "--metrics-port", "0"]
    async with (
        command(tmp_path, *arguments) as workers,
        command(tmp_path, "serve", WHERE, "--port", "0") as serve,
    ):
        told = await workers.until(event="supervising" if processes > 1 else "serving")
        for number in range(processes if processes > 1 else 0):
            await workers.until(process=f"worker {number}", event="serving")
        address = (await serve.until(event="serving"))["address"]
        async with httpx.AsyncClient(timeout=20) as http:
            for order in range(6):
                asked = {"workflow": "fulfil", "input": {"order": order}, "id": f"r-{order}"}
                await http.post(f"{address}/api/v1/runs", json=asked)
                await http.get(f"{address}/api/v1/runs/r-{order}/result")
            text = (await http.get(told["metrics"])).text
            families = {family.name: family for family in text_string_to_metric_families(text)}
            ended = families["headwater_runs_ended"].samples
            assert sum(one.value for one in ended if one.labels["how"] == "completed") == 6
            counts = [
                one for one in families["headwater_step_seconds"].samples if one.name.endswith("_count")
            ]
            assert sum(one.value for one in counts) == 6
            assert len(families["headwater_worker_healthy"].samples) == processes
            assert all(one.value == 1 for one in families["headwater_worker_healthy"].samples)
            assert max(one.value for one in families["headwater_log_position"].samples) >= 6
            health = await http.get(told["metrics"].replace("/metrics", "/healthz"))
            assert (health.status_code, health.json()["status"]) == (200, "ok")


async def test_a_taken_port_is_said_and_another_used(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with command(tmp_path, "worker", WHERE, "--metrics-port", str(port)) as worker:
            told = await worker.until(event="serving")
            assert f":{port}/" not in told["metrics"]
            async with httpx.AsyncClient() as http:
                assert (await http.get(told["metrics"])).status_code == 200


async def test_a_server_proxies_the_metrics_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with command(tmp_path, "worker", WHERE, "--metrics-port", "0") as worker:
        told = await worker.until(event="serving")
        monkeypatch.setenv("HEADWATER_WORKER_METRICS_URL", told["metrics"])
        async with command(tmp_path, "serve", WHERE, "--port", "0") as serve, httpx.AsyncClient() as http:
            address = (await serve.until(event="serving"))["address"]
            answer = await http.get(f"{address}/workers/metrics")
            assert (answer.status_code, "headwater_runs_owned" in answer.text) == (200, True)
            await worker.end()
            down = await http.get(f"{address}/workers/metrics")
            assert (down.status_code, down.json()["code"]) == (503, "worker_down")


async def test_a_worker_may_say_more_than_fits_into_a_buffer(tmp_path: Path) -> None:
    arguments = ["worker", "tests.integration.cli.many:app", "--processes", "2", "--metrics-port", "0"]
    async with command(tmp_path, *arguments) as workers:
        for number in range(2):
            told = await workers.until(process=f"worker {number}", event="serving")
            assert len(json.dumps(told)) > 2**16
        assert await workers.end() == 0


def test_watched_workers_have_longer_to_stop_than_their_steps() -> None:
    for grace in (0.0, 10.0, 600.0):
        assert all(child.patience > grace for child in children_of("memory:", ["worker"], 2, grace))


@pytest.mark.parametrize("only", ["nothing", "", "runs,nothing"])
async def test_a_part_that_there_is_not_is_refused(tmp_path: Path, only: str) -> None:
    async with command(tmp_path, "worker", WHERE, "--only", only) as worker:
        assert await worker.process.wait() == 2


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
async def test_what_a_worker_has_begun_is_done_by_another_when_it_ends(
    tmp_path: Path, sign: signal.Signals
) -> None:
    """Stopped within its grace time, or killed: its run goes on elsewhere well within the lease of an hour."""
    options = ["--lease", "3600", "--grace", "0.5", "--metrics-port", "0"]
    async with (
        command(tmp_path, "serve", WHERE, "--port", "0") as serve,
        command(tmp_path, "worker", WHERE, *options) as first,
        httpx.AsyncClient(base_url=(await serve.until(event="serving"))["address"], timeout=40) as http,
    ):
        name = (await first.until(event="serving"))["worker"]
        await http.post("/api/v1/runs", json={"workflow": "lingers", "id": "r-1"})
        async with asyncio.timeout(30):
            while not [
                step
                for step in (await http.get("/api/v1/runs/r-1/steps")).json()["steps"].values()
                if step["status"] == "running"
            ]:
                await asyncio.sleep(0.05)
        async with command(tmp_path, "worker", WHERE, *options) as second:
            await second.until(event="serving")
            code = await first.end(sign)
            assert code == (0 if sign is signal.SIGTERM else -signal.SIGKILL)
            done = (await http.get("/api/v1/runs/r-1/result", params={"timeout": 30})).json()
            assert (done["status"], done["output"]) == ("completed", 2)
            workers = (await http.get("/api/v1/workers")).json()["workers"]
            assert name not in [worker["worker"] for worker in workers]
