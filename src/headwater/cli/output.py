"""What goes to the terminal, and what must not.

Text from the log is data that somebody else wrote. On its way to a terminal every character that is not printable is
shown as its escape, so that an event cannot move the cursor, retitle the window or reorder a line; nothing interprets
markup. JSON is pure ASCII for the same reason. Colour is used on a terminal only, and never where NO_COLOR is set.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any, Literal, TextIO

Colour = Literal["bold", "dim", "red", "green", "yellow", "cyan"]
_CODES: dict[Colour, str] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}


class ReaderGone(Exception):
    """Whoever read our output has closed it."""


@dataclass(frozen=True, slots=True)
class Painter:
    """Colours for one of the two streams."""

    name: Literal["stdout", "stderr"]

    @property
    def on_terminal(self) -> bool:
        return self._file.isatty() and os.environ.get("TERM") != "dumb"

    def paint(self, text: str, colour: Colour) -> str:
        if not self.on_terminal or os.environ.get("NO_COLOR"):
            return text
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"

    @property
    def _file(self) -> TextIO:
        return sys.stdout if self.name == "stdout" else sys.stderr


OUT = Painter("stdout")
ERRORS = Painter("stderr")


def plain(text: str) -> str:
    """Text in which every character can be printed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plain_lines(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(plain(line) for line in text.split("\n"))


def say(text: str) -> None:
    """Print a line whose foreign parts are plain already."""
    try:
        sys.stdout.write(text + "\n")
    except BrokenPipeError:
        raise ReaderGone from None


def say_json(value: Any) -> None:
    """Print a JSON document on one line."""
    say(json.dumps(value).replace("\x7f", "\\u007f"))


def flush() -> None:
    """Let the reader see what was printed so far."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def prepare_streams() -> None:
    """Whatever the terminal's encoding, printing must not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon_stdout() -> None:
    """Let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
