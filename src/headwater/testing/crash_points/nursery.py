"""A process that has everything imported and forks a child for each job: a new process costs milliseconds.

It reads jobs as lines of JSON, one at a time, and answers each with how the child ended. It has one thread and opens
nothing, so a forked child is as good as a new one.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from headwater.testing.crash_points.stage import load

PATIENCE = 60


class Ended(NamedTuple):
    """How a child ended: its exit code, negative for a signal, and what it said."""

    code: int
    said: str


class Nursery:
    """The other side of the pipe: runs functions in children, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "said"
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def run(self, function: str, **arguments: Any) -> Ended:
        """Run `module:function` with these keyword arguments, of which JSON must hold."""
        job = {"function": function, "arguments": arguments, "said": str(self._said)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Ended(code, self._said.read_text(encoding="utf-8", errors="replace"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Fork for every line until there are no more."""
    for name in ("scene", "lives", "sqlite", "postgres"):
        load(f"headwater.testing.crash_points.{name}:__name__")
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    gc.freeze()
    while line := sys.stdin.readline():
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _live(job["function"], job["arguments"], Path(job["said"]))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _live(function: str, arguments: Mapping[str, Any], said: Path) -> None:
    """The child: what it prints goes to a file, and it never returns."""
    code = 1
    try:
        nothing, output = (
            os.open(os.devnull, os.O_RDONLY),
            os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        )
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(nothing)
        os.close(output)
        signal.alarm(PATIENCE)
        load(function)(**arguments)
        code = 0
    except BaseException:  # noqa: BLE001  whatever it was, the parent is to read it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
