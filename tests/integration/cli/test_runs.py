"""`headwater run`, `worker` and `replay`, as users run them: processes on a SQLite file."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from headwater.cli.run.texts import worker_name
from tests.integration.cli.conftest import Command

APP = """
import asyncio
from pathlib import Path
from headwater import FatalError, Headwater, RetryableError, current_step

app = Headwater("shop")

@app.step(retries=2)
async def charge(cents: int) -> int:
    if current_step().attempt == 1:
        raise RetryableError("busy", after=0.05)
    return cents

@app.step
async def pack(number: int) -> int:
    Path(f"packed-{number}").touch()
    await asyncio.sleep(NAP)
    return number

@app.step
async def refuse() -> None:
    raise FatalError("no such \\x1b[31maddress")

@app.workflow
async def fulfil(cents: int, *, express: bool = False) -> dict[str, int]:
    app.set_state("charging")
    paid = await charge(cents)
    note = await app.hook(dict[str, str], token=f"approve:{cents}")
    app.set_attributes(by=note["by"])
    one, two = await asyncio.gather(pack(1), pack(2))
    await asyncio.sleep(0.05)
    return {"paid": paid, "packed": one + two}

@app.workflow
async def fail() -> None:
    print("a workflow may print")
    await refuse()

@app.workflow
async def idle() -> None:
    await asyncio.sleep(3600)
"""


def until(holds: Callable[[], Any], seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


class Shop:
    """An app in a folder, its log, and the workers that were started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.call = Command(folder, f"sqlite:///{folder / 'shop.db'}")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.write_app(APP.replace("NAP", "0.05"))

    def write_app(self, text: str, name: str = "shop") -> None:
        (self.folder / f"{name}.py").write_text(text)

    def worker(self, *options: str) -> tuple[subprocess.Popen[bytes], str]:
        process = self.call.start("worker", "shop:app", "--json", *options)
        self.processes.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())["worker"]

    def ok(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.call(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def show(self, run: str, *options: str) -> dict[str, Any]:
        [state] = self.ok("run", "show", run, *options)
        return state

    def stop(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.communicate()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    try:
        yield shop
    finally:
        shop.stop()


@pytest.fixture
def finished(shop: Shop) -> Shop:
    """A run `a` that is completed, and `b` that failed."""
    shop.worker()
    shop.ok("run", "start", "shop:app", "fulfil", "700", "--id", "a", "--attribute", "city=berlin")
    until(lambda: shop.show("a")["hooks"].get("3"))
    shop.ok("run", "send", "approve:700", '{"by": "Ann"}', "--actor", "ann", "--key", "k")
    shop.ok("run", "result", "a")
    assert shop.call("run", "start", "shop:app", "fail", "--id", "b", "--wait").returncode == 1
    shop.processes[0].terminate()
    assert shop.processes[0].wait(10) == 0
    return shop


def test_a_run_from_start_to_result_over_two_workers_of_which_one_is_killed(shop: Shop) -> None:
    shop.write_app(APP.replace("NAP", "60 if not Path('awake').exists() else 0"))
    first, one = shop.worker()
    [started] = shop.ok("run", "start", "shop:app", "fulfil", "--input", '{"cents": 5}', "--id", "a")
    assert started == {"run": "a", "workflow": "fulfil", "new": True}
    until(lambda: shop.show("a")["hooks"].get("3"))
    [sent] = shop.ok("run", "send", "approve:5", '{"by": "Ann"}', "--run", "a")
    assert sent == {"run": "a", "call": 3, "new": True}
    until(lambda: all((shop.folder / f"packed-{n}").exists() for n in (1, 2)))
    until(lambda: shop.show("a")["steps"].get("6", {}).get("status") == "running")
    (shop.folder / "awake").touch()
    first.send_signal(signal.SIGKILL)
    first.wait()
    shop.worker()
    done = shop.call("run", "result", "a", "--timeout", "20")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"paid": 5, "packed": 3})

    steps = {line["call"]: line for line in shop.show("a")["timeline"] if line["kind"] == "step"}
    for call in (5, 6):
        first_, second_ = steps[call]["attempts"]
        assert (first_["worker"], first_["outcome"]) == (one, "cut off")
        assert (second_["number"], second_["outcome"]) == (2, "completed")
        assert second_["worker"] != one  # the other, or a child in which it tries a suspect alone
    text = shop.call("run", "show", "a").stdout
    assert f"attempt 1 on {worker_name(one)} cut off" in text
    assert "attempt 2 on w-" in text


def test_a_run_can_be_seen_now_and_as_it_was(finished: Shop) -> None:
    now = finished.show("a")
    assert (now["status"], now["state"], now["output"]) == (
        "completed",
        "charging",
        {"paid": 700, "packed": 3},
    )
    assert now["attributes"] == {"city": "berlin", "by": "Ann"}
    [hook] = [line for line in now["timeline"] if line["kind"] == "hook"]
    assert (hook["moments"][0]["data"], hook["moments"][0]["text"]) == ({"by": "Ann"}, "by ann")
    [charge] = [line for line in now["timeline"] if line["name"] == "charge"]
    assert [a["outcome"] for a in charge["attempts"]] == ["failed", "completed"]
    assert charge["attempts"][0]["error"]["message"] == "busy"

    events = finished.ok("run", "history", "a")
    received = next(event for event in events if event["type"] == "hook_received")
    before = finished.show("a", "--version", str(received["version"] - 1))
    assert (before["status"], before["attributes"]) == ("running", {"city": "berlin"})
    assert finished.show("a", "--at", received["recorded_at"])["version"] == received["version"]
    assert finished.call("run", "show", "a", "--at", "2020-01-01T00:00:00Z").returncode == 3

    text = finished.call("run", "show", "a")
    assert text.returncode == 0
    assert all(
        part in text.stdout for part in ("completed in", "charge", "RetryableError: busy", '{"by": "Ann"}')
    )
    assert "\x1b" not in text.stdout


def test_a_failure_is_an_exit_code_and_its_error_cannot_steer_the_terminal(finished: Shop) -> None:
    done = finished.call("run", "result", "b")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: run b failed: FatalError: no such \\x1b[31maddress\n"
    done = finished.call("run", "result", "b", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["type"]) == (1, "FatalError")
    for arguments in (["show", "b"], ["history", "b", "--data"], ["list"], ["tail", "b"]):
        done = finished.call("run", *arguments)
        assert done.returncode == 0
        assert all(line.isprintable() for line in done.stdout.splitlines())


def test_runs_are_listed_newest_first_and_filtered(finished: Shop) -> None:
    assert [run["run"] for run in finished.ok("run", "list")] == ["b", "a"]
    for options, runs in (
        ("--workflow fulfil", ["a"]),
        ("--status failed", ["b"]),
        ("--status failed --status completed", ["b", "a"]),
        ("--status running", []),
        ("--limit 1", ["b"]),
        ("--before b", ["a"]),
        ("--before a", []),
        ("--tenant acme", []),
    ):
        assert [run["run"] for run in finished.ok("run", "list", *options.split())] == runs, options
    [_, line] = finished.call("run", "list").stdout.splitlines()
    assert line.split()[2:] == ["a", "fulfil", "completed", "charging", "by=Ann", "city=berlin"]
    assert finished.call("run", "list", "--before", "nope").returncode == 3


def test_an_export_is_replayed_and_a_change_of_the_code_is_found(finished: Shop) -> None:
    finished.ok("run", "export", "a", "a.jsonl")
    assert finished.call("run", "export", "a").stdout == (finished.folder / "a.jsonl").read_text()
    verdicts = finished.ok("replay", "a.jsonl", "b", "shop:app")
    assert [(v["run"], v["workflow"], v["result"]) for v in verdicts] == [
        ("a", "fulfil@1", "ok"),
        ("b", "fail@1", "ok"),
    ]
    changes = {
        "a step more": (
            "paid = await charge(cents)",
            "await pack(1); paid = await charge(cents)",
            "diverged",
        ),
        "another input": ("pack(2))", "pack(3))", "diverged"),
        "another order": ("gather(pack(1), pack(2))", "gather(pack(2), pack(1))", "diverged"),
        "another result": ("one + two", "one - two", "diverged"),
        "no such workflow": ("async def fulfil", "async def fulfill", "stuck"),
        "another step's body": ("return cents\n", "return cents + 1\n", "ok"),
    }
    for name, (old, new, result) in changes.items():
        assert APP.count(old) == 1, name
        finished.write_app(APP.replace("NAP", "0").replace(old, new), "changed")
        done = finished.call("replay", "a.jsonl", "changed:app", "--json")
        verdict = json.loads(done.stdout)
        assert (verdict["result"], done.returncode) == (result, 0 if result == "ok" else 1), name
        if name == "a step more":
            assert (verdict["call"], verdict["recorded"]) == (2, "a call of step 'charge'")
            assert verdict["attempted"] == "a call of step 'pack'"
            assert verdict["where"].startswith(str(finished.folder / "changed.py:"))
        if name == "another input":
            assert finished.call("replay", "a.jsonl", "changed:app", "--any-input").returncode == 0


def test_a_deploy_is_checked_against_every_open_run(finished: Shop) -> None:
    finished.ok("run", "start", "shop:app", "idle", "--id", "new")
    finished.ok("run", "start", "shop:app", "fulfil", "3", "--id", "waiting")
    finished.worker()
    until(lambda: finished.show("waiting")["hooks"].get("3"))
    assert {v["run"]: v["result"] for v in finished.ok("replay", "--all", "shop:app")} == {
        "new": "ok",
        "waiting": "ok",
    }
    finished.write_app(APP.replace("NAP", "0").replace('token=f"approve', 'token=f"permit'), "changed")
    done = finished.call("replay", "--all", "changed:app")
    assert done.returncode == 1
    assert "a hook with token 'approve:3'" in done.stdout
    assert done.stdout.endswith("2 runs: 1 ok, 1 not\n")


def test_tail_follows_a_run_until_it_ends(shop: Shop) -> None:
    shop.ok("run", "start", "shop:app", "fulfil", "9", "--id", "a")
    tail = shop.call.start("run", "tail", "a", "--json")
    shop.processes.append(tail)
    assert tail.stdout is not None
    assert json.loads(tail.stdout.readline())["type"] == "run_created"
    shop.worker()
    until(lambda: shop.show("a")["hooks"].get("3"))
    shop.ok("run", "send", "approve:9", '{"by": "Ann"}')
    seen = [json.loads(line)["version"] for line in tail.stdout]
    assert tail.wait(10) == 0
    assert seen == list(range(2, shop.show("a")["version"] + 1))


def test_cancelling_sending_and_resuming_what_cannot_be_is_refused(finished: Shop) -> None:
    for arguments, error in (
        (["cancel", "a"], "run_finished"),
        (["resume", "a"], "run_finished"),
        (["send", "approve:1", "1"], "hook_not_found"),
        (["send", "approve:1", "1", "--run", "a"], "run_finished"),
        (["show", "nope"], "run_not_found"),
        (["tail", "nope"], "run_not_found"),
        (["history", "nope"], "run_not_found"),
        (["export", "nope", "file"], "run_not_found"),
        (["result", "nope"], "run_not_found"),
        (["cancel", "nope"], "run_not_found"),
    ):
        done = finished.call("run", *arguments, "--json")
        assert (done.returncode, done.stdout) == (3, ""), arguments
        assert json.loads(done.stderr)["error"] == error, arguments
    assert not (finished.folder / "file").exists()


def test_a_run_that_nobody_works_on_is_cancelled_at_once(shop: Shop) -> None:
    shop.ok("run", "start", "shop:app", "idle", "--id", "a")
    assert shop.call("run", "result", "a", "--timeout", "0").returncode == 3
    assert shop.ok("run", "cancel", "a", "--reason", "wrong shop") == [{"run": "a", "status": "cancelled"}]
    assert shop.ok("run", "cancel", "a") == [{"run": "a", "status": "cancelled"}]
    done = shop.call("run", "result", "a", "--json")
    assert (done.returncode, json.loads(done.stdout)["reason"]) == (1, "wrong shop")


def test_what_is_said_wrongly_is_told_with_its_fix(shop: Shop) -> None:
    shop.write_app("import nothing_of_that_name\n", "broken")
    for arguments, said in (
        (["worker", "shop"], "Write MODULE:APP"),
        (["worker", "none:app"], "There is no module 'none'"),
        (["worker", "shop:nope"], "It has shop:app."),
        (["worker", "broken:app"], "broken.py:1"),
        (["worker", "shop:app", "--queues", "gpu=x"], "is not a queue"),
        (["run", "start", "shop:app", "nope"], "it has: fail@1, fulfil@1, idle@1"),
        (["run", "start", "shop:app", "fulfil@2", "1"], "has no workflow 'fulfil@2'"),
        (["run", "start", "shop:app", "fulfil"], "missing a required argument: 'cents'"),
        (["run", "start", "shop:app", "fulfil", "1", "2"], "takes 1 arguments in order, and got 2"),
        (["run", "start", "shop:app", "fulfil", "Ann"], "For the text Ann write '\"Ann\"'"),
        (["run", "start", "shop:app", "fulfil", '"Ann"'], "does not fit its type"),
        (["run", "start", "shop:app", "fulfil", "--input", '{"euros": 1}'], "has no argument euros"),
        (["run", "start", "shop:app", "fulfil", "--input", "1"], "is an object of arguments by name"),
        (["run", "start", "shop:app", "fulfil", "1", "--attribute", "x"], "Write NAME=VALUE"),
        (["replay", "shop:app"], "or give --all"),
    ):
        done = shop.call(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), (arguments, done.stderr)
        assert said in done.stderr, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1
    assert not (shop.folder / "shop.db").exists()


def test_a_worker_lets_steps_end_when_told_to_stop_and_ends_at_once_when_told_twice(shop: Shop) -> None:
    shop.write_app(APP.replace("NAP", "2").replace("await app.hook", "{'by': 'x'} #"))
    packed = shop.folder / "packed-2"
    for name, signals, code in (("a", [signal.SIGINT], 0), ("b", [signal.SIGTERM, signal.SIGINT], 130)):
        packed.unlink(missing_ok=True)
        worker, _ = shop.worker()
        shop.ok("run", "start", "shop:app", "fulfil", "1", "--id", name)
        until(packed.exists)
        for number in signals:
            time.sleep(0.2)  # two signals at once are one
            worker.send_signal(number)
        assert worker.wait(10) == code
        done = shop.show(name)["steps"]["5"]["status"]
        assert done == ("completed" if code == 0 else "running")


def test_a_run_alone_in_a_process_is_worked_on_and_no_other(shop: Shop) -> None:
    for name in ("a", "b"):
        shop.ok("run", "start", "shop:app", "fulfil", "1", "--id", name)
    done = shop.call("worker", "shop:app", "--alone", "default/a")
    assert done.returncode == 0, done.stderr
    assert shop.show("a")["hooks"]["3"]["status"] == "open"
    assert shop.show("b")["status"] == "pending"
    shop.worker()
    shop.ok("run", "send", "approve:1", '{"by": "Ann"}')
    shop.ok("run", "result", "a")


def test_help_starts_as_quickly_as_before(shop: Shop) -> None:
    """What only some commands need is imported by them."""
    code = "import sys, headwater.cli; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    late = {"rich.console", "uvloop", "asyncpg", "apsw", "headwater.worker.start", "headwater.testing"}
    assert not late & set(loaded)
