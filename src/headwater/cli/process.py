"""A command that goes on until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any


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
