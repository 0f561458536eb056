"""SQL from the files beside this one: `-- name: x`, a description, a statement."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


@cache
def statements(file: str) -> dict[str, str]:
    """The named statements of one file, without their comments."""
    text = (files("headwater.projections") / "sql" / file).read_text(encoding="utf-8")
    return {n: _COMMENT.sub("", body).strip().rstrip(";") for n, body in _NAMED.findall(text)}
