"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. What is not ok says how to mend it."""

    check: str
    level: Level
    message: str
    fix: str = ""


def judged(check: str, message: str, fix: str, *, good: bool, level: Level = "problem") -> Finding:
    """A finding that needs mending unless it is good."""
    return Finding(check, "ok", message) if good else Finding(check, level, message, fix)
