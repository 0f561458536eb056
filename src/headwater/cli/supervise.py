"""Processes that one command starts, watches, and stops.

A child that dies is started again, after a pause that doubles while it keeps dying. One that refuses to start (wrong
options, a wrong setting) is not: that ends everything, with its exit code. Children are told to stop by SIGTERM, have
their `patience` for it, and are killed then: who has children of its own has longer than they. They hold a pipe to
this process: when it dies without a word, as by `kill -9`, they read its end and stop by themselves.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from headwater.cli.exits import Exit
from headwater.cli.output import ERRORS, plain
from headwater.cli.process import SUPERVISED

_LINE: Final = 16 * 1024 * 1024
_STEADY: Final = 30.0
_LONGEST: Final = 10.0
_HOPELESS: Final = frozenset({Exit.USAGE, Exit.REFUSED})

Told = Callable[["Child", dict[str, Any]], None]


@dataclass(eq=False)
class Child:
    """A command of ours, run as a process with `--json`; `told` is the last thing it said, `patience` the seconds that
    it has to stop.
    """

    name: str
    arguments: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict[str, str])
    patience: float = 30.0
    told: dict[str, Any] = field(default_factory=dict[str, Any])
    process: asyncio.subprocess.Process | None = None


async def supervise(children: Sequence[Child], stop: asyncio.Event, tell: Told) -> int:
    """Keep children running until told to stop; the exit code."""
    keeping = [asyncio.create_task(_keep(child, stop, tell), name=f"keep-{child.name}") for child in children]
    codes = await asyncio.gather(*keeping)
    return next((code for code in codes if code), 0)


async def _keep(child: Child, stop: asyncio.Event, tell: Told) -> int:
    loop = asyncio.get_running_loop()
    pause = 0.5
    while not stop.is_set():
        began = loop.time()
        code = await _run(child, stop, tell)
        if stop.is_set():
            return 0
        if code in _HOPELESS:
            stop.set()
            return code
        pause = 0.5 if loop.time() - began > _STEADY else min(pause * 2, _LONGEST)
        _say(f"{child.name} has ended with code {code}; it is started again in {pause:g} s")
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
    return 0


async def _run(child: Child, stop: asyncio.Event, tell: Told) -> int:
    """One life of a child; its exit code."""
    process = child.process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headwater", "--json", *child.arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **child.environment, SUPERVISED: "1"},
        start_new_session=True,
        limit=_LINE,
    )  # fmt: skip
    listening = asyncio.create_task(_listen(child, process, tell))
    stopping = asyncio.create_task(stop.wait())
    ending = asyncio.create_task(process.wait())
    try:
        await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            done, _ = await asyncio.wait({ending}, timeout=child.patience)
            if not done:
                _say(f"{child.name} does not stop, and is killed")
                process.kill()
        return await ending
    finally:
        if process.returncode is None:
            process.kill()
        stopping.cancel()
        await listening


async def _listen(child: Child, process: asyncio.subprocess.Process, tell: Told) -> None:
    if process.stdout is None:
        return
    async for line in process.stdout:
        with suppress(ValueError):
            child.told = json.loads(line)
            tell(child, child.told)


def _say(text: str) -> None:
    sys.stderr.write(f"{ERRORS.paint('note:', 'yellow')} {plain(text)}\n")
