"""What the code of a workflow may not do is refused, with the fix; what it logs is not logged again on a replay.

Files, sockets, processes, threads and `time.sleep` raise `NotInWorkflow`, on the thread and for the time in which a
workflow's code runs, and nowhere else. Imports, tracebacks, logging, time zones and the debugger may open what they
need: they stand on the stack then. Clocks and randomness raise no audit event; `headwater lint` and replays find them.

Whether a workflow runs here is known without keeping count: while a turn runs, the thread's running loop is the run's.
So a turn pays nothing for its guard itself. What is paid is by the process, once a workflow has run in it: each audit
event (`open`, `import`, `id()`, `sys._getframe()`) takes 0.25 us longer on a machine where a turn with a step takes
7.6 us; as a turn raises one at most, it takes 0.1 to 0.25 us longer (measured, the best of 7 rounds of 20,000 turns).

Log records are made by a factory that gives those of a replayed turn a level below every handler's.

Python before 3.13 does not tell when it sleeps, so `time.sleep` is wrapped there; before 3.12 it does not tell that it
starts a thread, and that is not guarded. Rejected: patching `open`, `socket` and the like too (each has several doors,
and other threads go through them); `logging.disable` (it is the whole process's).
"""

from __future__ import annotations

import asyncio
import linecache
import logging
import os
import sys
import time
import traceback
from functools import cache
from types import FrameType
from typing import Any, Final, SupportsIndex, cast

from headwater.errors import NotInWorkflow
from headwater.workflows.frames import frame

_running_loop = asyncio._get_running_loop  # noqa: SLF001
_UNHEARD: Final = -1

_STEP: Final = "Do it in a step."
_SLEEP: Final = "Use `await asyncio.sleep(...)`, which is durable and blocks nobody."
_REFUSED: Final[dict[str, tuple[str, str]]] = {
    "time.sleep": ("time.sleep() stops the worker with all its runs", _SLEEP),
    **dict.fromkeys(
        ("_thread.start_new_thread", "_thread.start_joinable_thread"), ("It starts a thread", _STEP)
    ),
    **dict.fromkeys(
        (
            "open",
            "os.listdir",
            "os.scandir",
            "os.remove",
            "os.rename",
            "os.mkdir",
            "os.rmdir",
            "sqlite3.connect",
        ),
        ("It reaches for a file", _STEP),
    ),
    **dict.fromkeys(
        (
            *("socket.__new__", "socket.connect", "socket.bind", "socket.sendto"),
            *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
        ),
        ("It reaches for the network", _STEP),
    ),
    **dict.fromkeys(
        (
            *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"),
            *("os.fork", "os.forkpty", "pty.spawn"),
        ),
        ("It starts a process", _STEP),
    ),
}
_LIBRARY: Final = os.path.dirname(os.__file__)
_ALLOWED: Final = (
    "<frozen importlib",
    "<frozen zipimport",
    linecache.__file__,
    traceback.__file__,
    *(f"{_LIBRARY}/{name}" for name in ("logging/", "importlib/", "warnings.py", "pdb.py", "bdb.py")),
)


@cache
def install() -> None:
    """Watch what the code of workflows does, from now on."""
    sys.addaudithook(_watch)
    if sys.version_info < (3, 13):  # which do not say that they sleep
        sleep = time.sleep

        def watched_sleep(seconds: float | SupportsIndex, /) -> None:
            _watch("time.sleep", (seconds,))
            sleep(seconds)

        time.sleep = watched_sleep
    make = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = make(*args, **kwargs)
        if getattr(_running_loop(), "replaying", False):
            made.levelno = _UNHEARD
        return made

    logging.setLogRecordFactory(record)


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event not in _REFUSED or not hasattr(_running_loop(), "headwater_run"):
        return
    if not _is_allowed(frame(1)) and not (event == "open" and "/zoneinfo/" in str(args[0])):
        what, fix = _REFUSED[event]
        raise NotInWorkflow(f"{what} ({_say(event, args)})" if event != "time.sleep" else what, fix)


def _is_allowed(by: FrameType | None) -> bool:
    while by is not None and by.f_code.co_qualname != "RunLoop.turn":
        if by.f_code.co_filename.startswith(_ALLOWED):
            return True
        by = by.f_back
    return False


def _say(event: str, args: tuple[Any, ...]) -> str:
    given = cast(object, args[0]) if args else None
    return f"{event} {given}" if isinstance(given, str) else event
