"""A command that goes on until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

SUPERVISED: Final = "SUPERVISED_BY_HEADWATER"
"""Set for a child that is to stop when its standard input ends: its parent is gone then."""


def on_signals() -> asyncio.Event:
    """Set at the first SIGINT or SIGTERM; the second ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked, number)
    if os.environ.pop(SUPERVISED, None):  # not for the processes that steps may start

        def parent_gone() -> None:
            if not os.read(sys.stdin.fileno(), 1024):
                loop.remove_reader(sys.stdin.fileno())
                stop.set()

        loop.add_reader(sys.stdin.fileno(), parent_gone)
    return stop


def run_for_long(work: Coroutine[Any, Any, None]) -> None:
    """Run a long-lived command's coroutine, on the loop of uvloop where there is one."""
    from headwater.worker.collector import calm_collector

    calm_collector()
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        runner.run(work)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop
