"""SQL from the files beside this one: `-- name: x`, a description, a statement."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import NamedTuple

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


def statements(file: str) -> dict[str, str]:
    """The named statements of one file, without their comments."""
    text = (files("headwater.log.sqlite") / "sql" / file).read_text(encoding="utf-8")
    return {name: _COMMENT.sub("", body).strip() for name, body in _NAMED.findall(text)}


class Migration(NamedTuple):
    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All steps of the schema, in order; a released one never changes."""
    folder = files("headwater.log.sqlite") / "sql" / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [
        Migration(int(name[:3]), name.removesuffix(".sql"), (folder / name).read_text(encoding="utf-8"))
        for name in names
    ]
