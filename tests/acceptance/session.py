"""Runs the snippets of one Markdown file as one session: `session.py FILE [--first]`.

Python snippets share a namespace and an event loop (`await` works at top level); `console` snippets run their
`$ headwater` lines and compare the output. All of it happens in the current folder. Standard library only.

    ```python             run
    ```python notest      only compiled
    ```python file=a.py   run, and written to a file, for the commands
    ```console            each `$ headwater` line exits 0; `...` in the output matches anything
    ```console fails      each exits with something else
    ```console until      each is repeated until it comes out as shown

In a console, `$ headwater ... &` goes on in the background, and `$ kill -9 %1` ends the first of those.
"""

import ast
import asyncio
import inspect
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 30.0
BACKGROUND: list[subprocess.Popen[str]] = []
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Snippet:
    language: str
    flags: frozenset[str]
    code: str
    file: Path
    line: int

    @property
    def place(self) -> str:
        return f"{self.file.name}:{self.line}"

    @property
    def target(self) -> str | None:
        """The file that it is to be written to."""
        return next((flag[5:] for flag in self.flags if flag.startswith("file=")), None)


def snippets(file: Path) -> Iterator[Snippet]:
    text = file.read_text("utf-8")
    for match in FENCE.finditer(text):
        language, *flags = match["info"].split() or [""]
        line = text.count("\n", 0, match.start("code")) + 1
        code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        yield Snippet(language, frozenset(flags), code, file, line)


def run_python(snippet: Snippet, module: types.ModuleType, runner: asyncio.Runner) -> None:
    if snippet.target is not None:
        Path(snippet.target).write_text(snippet.code, "utf-8")
    padded = "\n" * (snippet.line - 1) + snippet.code  # so that tracebacks quote the page itself
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(padded, str(snippet.file), "exec", flags=flags, dont_inherit=True)
    if "notest" in snippet.flags:
        return
    if code.co_flags & inspect.CO_COROUTINE:

        async def run() -> None:
            await eval(code, module.__dict__)

        runner.run(run())
    else:
        eval(code, module.__dict__)


def run_console(snippet: Snippet) -> None:
    commands: list[tuple[str, list[str]]] = []
    for line in snippet.code.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif commands and line.startswith("> ") and commands[-1][0].endswith("\\"):
            command, output = commands.pop()
            commands.append((command[:-1] + line[2:], output))
        elif commands:
            commands[-1][1].append(line)
    for command, expected in commands:
        arguments = shlex.split(command, comments=True)
        if "notest" in snippet.flags:
            continue
        if arguments[:1] == ["headwater"] and arguments[-1] == "&":
            nowhere = subprocess.DEVNULL
            BACKGROUND.append(start_command(arguments[1:-1], stdout=nowhere, stderr=nowhere))
        elif arguments[:1] == ["headwater"]:
            run_command(snippet, command, arguments[1:], expected)
        elif arguments[:1] == ["kill"]:
            end_command(arguments[1:])


def start_command(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    program = Path(sys.executable).with_name("headwater")
    quiet = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.Popen(
        [program, *arguments],
        env={**os.environ, **quiet},
        text=True,
        **options,
    )


def end_command(arguments: list[str]) -> None:
    """`kill %1`, or `kill -9 %1`."""
    job = BACKGROUND[int(arguments[-1].removeprefix("%")) - 1]
    job.send_signal(signal.SIGKILL if arguments[0] == "-9" else signal.SIGTERM)
    job.wait(PATIENCE)


def run_command(snippet: Snippet, command: str, arguments: list[str], expected: list[str]) -> None:
    until = time.monotonic() + (PATIENCE if "until" in snippet.flags else 0)
    while (fault := try_command(snippet, command, arguments, expected)) is not None:
        if time.monotonic() > until:
            raise SystemExit(f"{snippet.place}: {fault}")


def try_command(snippet: Snippet, command: str, arguments: list[str], expected: list[str]) -> str | None:
    """What is wrong with what it prints, if anything."""
    fails = "fails" in snippet.flags
    errors = subprocess.STDOUT if fails else subprocess.PIPE  # else warnings are not part of the answer
    process = start_command(arguments, stdout=subprocess.PIPE, stderr=errors)
    try:
        output, said = process.communicate(timeout=50)
    finally:
        process.kill()
    if (process.returncode != 0) != fails:
        return f"`{command}` exited with {process.returncode}:\n{output}{said or ''}"
    if any(line.strip() for line in expected) and not matches(expected, output):
        wanted = "\n".join(expected)
        return f"`{command}` is shown to print:\n{wanted}\nand printed:\n{output}"
    return None


def matches(expected: list[str], output: str) -> bool:
    """Compare line by line without trailing space; `...` matches anything, also across lines."""

    def tidy(lines: list[str]) -> str:
        return "\n".join(line.rstrip() for line in lines).strip("\n")

    pattern = ".*?".join(re.escape(part) for part in tidy(expected).split("..."))
    return re.fullmatch(pattern, tidy(output.splitlines()), re.DOTALL) is not None


def main() -> None:
    file = Path(sys.argv[1])
    first_only = "--first" in sys.argv[2:]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.path[0] = str(Path.cwd())  # as for a script that lies here
    try:
        run_all(file, module, first_only=first_only)
    finally:
        for job in BACKGROUND:
            job.kill()
            job.wait()


def run_all(file: Path, module: types.ModuleType, *, first_only: bool) -> None:
    with asyncio.Runner() as runner:
        for snippet in snippets(file):
            if snippet.language == "python":
                run_python(snippet, module, runner)
                if first_only:
                    return
            elif snippet.language == "console" and not first_only:
                run_console(snippet)
    if first_only:
        raise SystemExit(f"{file.name} has no python snippet")


if __name__ == "__main__":
    main()
