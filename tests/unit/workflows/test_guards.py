"""What workflow code may not do raises with the fix, there and nowhere else; what it logs is logged once."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from headwater.app import Headwater, Workflow
from headwater.errors import NotInWorkflow
from headwater.runs import events as run
from tests.unit.workflows.driver import Owner, replay

app = Headwater("guarded")
LOGGER = logging.getLogger("tests.guarded")


@app.step
def work(name: str) -> str:
    return name


def outcome(do: Callable[[], Any]) -> Any:
    """How a run ends that does this."""

    async def code() -> str:
        await work("a")
        return str(do())

    owner = Owner(Workflow(code, name="w", version=1, timeout=None)).go()
    owner.execution.evict()
    assert owner.execution.outcome is not None
    return owner.execution.outcome.event


FORBIDDEN: dict[str, tuple[Callable[[], Any], str]] = {
    "open": (lambda: open(__file__), "open"),  # noqa: SIM115
    "path": (lambda: Path(__file__).read_text(), "open"),
    "os.open": (lambda: os.open(__file__, os.O_RDONLY), "open"),
    "listdir": (lambda: os.listdir("/"), "os.listdir"),
    "mkdir": (lambda: os.mkdir("/tmp/never-made"), "os.mkdir"),
    "socket": (socket.socket, "network"),
    "resolve": (lambda: socket.getaddrinfo("localhost", 1), "network"),
    "process": (lambda: subprocess.run(["true"], check=False), "process"),
    "system": (lambda: os.system("true"), "process"),
    "sleep": (lambda: time.sleep(0.001), "asyncio.sleep"),
}


if sys.version_info >= (3, 12):
    FORBIDDEN["thread"] = (lambda: threading.Thread(target=print).start(), "thread")


@pytest.mark.parametrize("name", FORBIDDEN)
def test_it_is_refused_with_the_fix(name: str) -> None:
    do, said = FORBIDDEN[name]
    event = outcome(do)
    assert isinstance(event, run.RunFailed)
    assert event.error.type == "NotInWorkflow"
    assert said in event.error.message
    assert "Do it in a step." in event.error.message or "await asyncio.sleep" in event.error.message


def _fails() -> str:
    try:
        raise ValueError("x")
    except ValueError:
        return traceback.format_exc()


def _imports() -> str:
    sys.modules.pop("this_is_slow", None)
    sys.modules.pop("colorsys", None)
    import colorsys

    return colorsys.__name__


ALLOWED: dict[str, Callable[[], Any]] = {
    "import": _imports,
    "traceback": _fails,
    "print": lambda: print("x"),
    "time zone": lambda: ZoneInfo.no_cache("Europe/Paris"),
    "log": lambda: LOGGER.warning("x"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_it_is_allowed(name: str) -> None:
    event = outcome(ALLOWED[name])
    assert isinstance(event, run.RunCompleted), event


def test_a_handler_may_open_its_file_while_a_workflow_logs(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log", delay=True)
    LOGGER.addHandler(handler)
    try:
        assert isinstance(outcome(lambda: LOGGER.error("x")), run.RunCompleted)
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
    assert (tmp_path / "log").read_text() == "x\n"


def test_other_code_is_free_while_a_run_waits_and_other_threads_always(tmp_path: Path) -> None:
    opened: list[str] = []
    begun, done = threading.Event(), threading.Event()

    def elsewhere() -> None:
        begun.wait(10)
        opened.append((tmp_path / "f").name)
        with open(tmp_path / "f", "w") as file:
            file.write("x")
        done.set()

    async def code() -> None:
        begun.set()
        assert done.wait(10)
        await work("a")

    thread = threading.Thread(target=elsewhere)
    thread.start()
    owner = Owner(Workflow(code, name="w", version=1, timeout=None)).start()
    thread.join(10)
    assert (tmp_path / "f").read_text() == "x"
    owner.execution.evict()


def test_an_eviction_is_guarded_too(tmp_path: Path) -> None:
    async def code() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            (tmp_path / "f").write_text("cleaned up")

    owner = Owner(Workflow(code, name="w", version=1, timeout=None)).start()
    owner.execution.evict()
    assert list(tmp_path.iterdir()) == []


def test_a_step_called_outside_a_run_may_do_all(tmp_path: Path) -> None:
    async def script() -> str:
        return await work(Path(__file__).name)

    assert asyncio.run(script()) == "test_guards.py"
    with pytest.raises(FileNotFoundError):
        (tmp_path / "none").read_text()


async def talks() -> None:
    LOGGER.warning("begun")
    await work("a")
    LOGGER.warning("a is done")
    await work("b")
    LOGGER.warning("b is done")


def test_what_was_logged_is_not_logged_on_replay(caplog: pytest.LogCaptureFixture) -> None:
    workflow = Workflow(talks, name="talks", version=1, timeout=None)
    owner = Owner(workflow).go()
    owner.execution.evict()
    said = ["begun", "a is done", "b is done"]
    assert [record.message for record in caplog.records] == said
    caplog.clear()
    whole = owner.history()
    replay(workflow, whole[:-1]).evict()
    assert caplog.records == []


def test_a_run_that_goes_on_logs_what_is_new(caplog: pytest.LogCaptureFixture) -> None:
    workflow = Workflow(talks, name="talks", version=1, timeout=None)
    owner = Owner(workflow).go()
    owner.execution.evict()
    caplog.clear()
    history = owner.history()
    execution = replay(workflow, history[:-1])
    caplog.clear()
    execution.deliver(*history[-1])
    assert [record.message for record in caplog.records] == ["b is done"]
    execution.evict()


def test_logging_elsewhere_is_heard_while_a_run_is_replayed(caplog: pytest.LogCaptureFixture) -> None:
    workflow = Workflow(talks, name="talks", version=1, timeout=None)
    owner = Owner(workflow).go()
    execution = replay(workflow, owner.history()[:2])
    LOGGER.warning("outside")
    assert caplog.records[-1].message == "outside"
    execution.evict()
    owner.execution.evict()
    with pytest.raises(NotInWorkflow):
        raise NotInWorkflow("x", "y")
