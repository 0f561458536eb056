"""Runs the snippets of one Markdown file as one session: `session.py FILE [--first]`.

Python snippets share a namespace and an event loop (`await` works at top level); `console` snippets run their
`$ headwater` lines and compare the output. All of it happens in the current folder. Standard library only.

    ```python             run
    ```python notest      only compiled
    ```console            each `$ headwater` line exits 0; `...` in the output matches anything
    ```console fails      each exits with something else
"""

import ast
import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


def snippets(file: Path) -> Iterator[Snippet]:
    text = file.read_text("utf-8")
    for match in FENCE.finditer(text):
        language, *flags = match["info"].split() or [""]
        line = text.count("\n", 0, match.start("code")) + 1
        code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        yield Snippet(language, frozenset(flags), code, file, line)


def run_python(snippet: Snippet, module: types.ModuleType, runner: asyncio.Runner) -> None:
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
        if arguments[:1] == ["headwater"] and "notest" not in snippet.flags:
            run_command(snippet, command, arguments[1:], expected)


def run_command(snippet: Snippet, command: str, arguments: list[str], expected: list[str]) -> None:
    program = Path(sys.executable).with_name("headwater")
    quiet = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [program, *arguments],
        env={**os.environ, **quiet},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    if (done.returncode != 0) != ("fails" in snippet.flags):
        raise SystemExit(f"{snippet.place}: `{command}` exited with {done.returncode}:\n{done.stdout}")
    if any(line.strip() for line in expected) and not matches(expected, done.stdout):
        wanted = "\n".join(expected)
        raise SystemExit(
            f"{snippet.place}: `{command}` is shown to print:\n{wanted}\nand printed:\n{done.stdout}"
        )


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
