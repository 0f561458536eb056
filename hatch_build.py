"""Makes the client for programs without an event loop from the one for those with: the same methods, which wait.

It runs when the package is built or installed, so that the two cannot differ; the file that it writes is in no
repository. `python hatch_build.py` does the same by hand.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # by hand, where nothing is built
    BuildHookInterface = object

CLIENT = Path(__file__).parent / "src" / "headwater" / "client"
MADE = CLIENT / "sync.py"

HEAD = '''"""The client for programs without an event loop: the same methods, which wait. Made from `client`.

    with app.connect_sync() as hw:
        receipt = hw.start(fulfil, order).result()
"""

# ruff: noqa
{imports}
from headwater.client.client import Client, How, Made
from headwater.client.handle import RunHandle
from headwater.client.portal import Portal

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
P = ParamSpec("P")
R = TypeVar("R")


class SyncRunHandle(Generic[R]):
    """One run. `R` is what its workflow returns."""

    def __init__(self, portal: Portal, handle: RunHandle[R]) -> None:
        self._portal, self._of = portal, handle
        self.id, self.new = handle.id, handle.new

    def __repr__(self) -> str:
        return repr(self._of)

{handle}

class SyncClient:
    """A connection of a program to its runs. Use it as a context manager; `app.connect_sync()` makes it."""

    def __init__(self, client: Client) -> None:
        self._of, self._portal = client, Portal()

    def __enter__(self) -> Self:
        self._portal.open()
        try:
            self._portal.run(self._of.__aenter__())
        except BaseException:
            self._portal.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._portal.run(self._of.__aexit__(*_))
        finally:
            self._portal.close()

{client}'''


class Hook(BuildHookInterface):  # type: ignore[misc,valid-type]
    """What the builder calls."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        MADE.write_text(made())


def made() -> str:
    """The module's text."""
    client, handle = ((CLIENT / f"{name}.py").read_text() for name in ("client", "handle"))
    methods = {"handle": _methods(handle, "RunHandle"), "client": _methods(client, "Client")}
    bodies = {name: "\n\n".join(found) + "\n" for name, found in methods.items()}
    text = HEAD.format(imports="from __future__ import annotations", **bodies)
    words = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    imports = {("collections.abc", "Iterator"): None, ("typing", "Generic"): None, ("typing", "Self"): None}
    for node in [*ast.parse(client).body, *ast.parse(handle).body]:
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and not node.module.startswith("headwater.client")
        ):
            imports |= {(node.module, one.name): None for one in node.names if one.name in words}
    lines = [f"from {module} import {name}" for module, name in imports if module != "__future__"]
    return HEAD.format(imports="\n".join(["from __future__ import annotations", *lines]), **bodies)


def _methods(text: str, name: str) -> list[str]:
    [kind] = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == name]
    return [
        _waiting(node)
        for node in kind.body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
        and not node.name.startswith("_")
        and not any(ast.unparse(mark) == "property" for mark in node.decorator_list)
        and node.name != "wait_for"
    ]


def _waiting(node: ast.AsyncFunctionDef | ast.FunctionDef) -> str:
    """A method that waits for the one it is made from."""
    returns = ast.unparse(node.returns) if node.returns else "None"
    shown = returns.replace("RunHandle[", "SyncRunHandle[").replace("AsyncIterator[", "Iterator[")
    doc = ast.get_docstring(node, clean=False)
    lines = [f"@{ast.unparse(mark)}" for mark in node.decorator_list]
    lines.append(f"def {node.name}({ast.unparse(node.args)}) -> {shown}:")
    if any(ast.unparse(mark) == "overload" for mark in node.decorator_list):
        lines.append("    ...")
        return _indented(lines)
    if doc:
        lines.append(f'    """{doc}"""')
    asked = f"self._of.{node.name}({_passed(node.args)})"
    if "AsyncIterator[" in returns:
        lines.append(f"    return self._portal.iterate({asked})")
    else:
        value = f"self._portal.run({asked})" if isinstance(node, ast.AsyncFunctionDef) else asked
        if returns.startswith("list[RunHandle["):
            value = f"[SyncRunHandle(self._portal, made) for made in {value}]"
        elif returns.startswith("RunHandle["):
            value = f"SyncRunHandle(self._portal, {value})"
        lines.append(f"    return {value}")
    return _indented(lines)


def _passed(arguments: ast.arguments) -> str:
    """The arguments of a call that hands them all on."""
    ordered = [one.arg for one in [*arguments.posonlyargs, *arguments.args] if one.arg != "self"]
    if arguments.vararg:
        ordered.append(f"*{arguments.vararg.arg}")
    named = [f"{one.arg}={one.arg}" for one in arguments.kwonlyargs]
    if arguments.kwarg:
        named.append(f"**{arguments.kwarg.arg}")
    return ", ".join([*ordered, *named])


def _indented(lines: list[str]) -> str:
    return "\n".join(f"    {line}" if line else line for line in lines)


if __name__ == "__main__":
    MADE.write_text(made())
