"""Servers as processes: what they import, what they never do, and what a restart under load loses."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from headwater.log.open import open_log
from headwater.runs.store import Runs

WHERE = "tests.integration.server.shop:app"


@asynccontextmanager
async def command(
    *arguments: str, url: str
) -> AsyncGenerator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """A command of ours as a process, and the first line that it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headwater", "--json", "--url", url, *arguments,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)


def test_a_server_imports_nothing_that_executes_runs() -> None:
    imports = (
        "headwater.cli, headwater.server.serve, headwater.server.application, tests.integration.server.shop"
    )
    bad = "{'headwater.engine.engine', 'headwater.worker.start', 'headwater.worker.parts'} & set(sys.modules)"
    program = f"import sys, {imports}; sys.exit(str({bad}) if {bad} else 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_server_alone_never_advances_a_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    async with (
        command("serve", WHERE, "--port", "0", url=url) as (_, served),
        httpx.AsyncClient(base_url=served["address"], timeout=20) as http,
    ):
        run = (await http.post("/api/v1/runs", json={"workflow": "fulfil", "input": {"order": 1}})).json()[
            "run"
        ]
        answer = await http.get(f"/api/v1/runs/{run}/result", params={"timeout": 2})
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        async with command("worker", WHERE, url=url):
            done = (await http.get(f"/api/v1/runs/{run}/result")).json()
            assert (done["status"], done["output"]) == ("completed", "charged 1")


async def test_a_restart_under_load_loses_no_accepted_start(tmp_path: Path) -> None:
    """Killed and stopped in turn, while many start runs: what was answered is there, and nothing is there twice."""
    url = f"sqlite:///{tmp_path}/log.db"
    accepted: set[str] = set()
    stop = False
    address = ""

    async def load(number: int) -> None:
        count = 0
        async with httpx.AsyncClient(timeout=5) as http:
            while not stop:
                key = f"{number}-{count}"
                asked = {"workflow": "fulfil", "input": {"order": count}, "attributes": {"key": key}}
                try:
                    answer = await http.post(
                        f"{address}/api/v1/runs", json=asked, headers={"idempotency-key": key}
                    )
                except httpx.HTTPError:
                    await asyncio.sleep(0.02)  # the server is away; the same start is sent again
                    continue
                assert answer.status_code in {200, 201, 503}, answer.text
                if answer.status_code != 503:
                    accepted.add(answer.json()["run"])
                    count += 1

    async with command("serve", WHERE, "--port", "0", url=url) as (process, served):
        address = served["address"]
        port = address.rpartition(":")[2]
        loads = [asyncio.create_task(load(number)) for number in range(8)]
        await _grown(accepted, 50)
        process.kill()
        await process.wait()
    for sign in (signal.SIGTERM, signal.SIGKILL):
        async with command("serve", WHERE, "--port", port, url=url) as (process, _):
            await _grown(accepted, len(accepted) + 50)
            process.send_signal(sign)
            await process.wait()
    stop = True
    await asyncio.gather(*loads)
    async with open_log(url) as log:
        there: dict[str, str] = {}
        before = None
        while page := await Runs(log).list(before=before, limit=500):
            there |= {run.run: run.attributes["key"] for run in page}
            before = page[-1]
    assert accepted <= set(there)
    assert len(set(there.values())) == len(there)  # a start that was sent again is the same run


async def _grown(accepted: set[str], to: int) -> None:
    async with asyncio.timeout(60):
        while len(accepted) < to:
            await asyncio.sleep(0.01)
