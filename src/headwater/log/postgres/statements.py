"""SQL from the files beside this one: named queries, the steps of the schema, and its functions."""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


@cache
def queries() -> dict[str, str]:
    """The named queries, without their comments; `{events}` and `{entry}` stand for the columns of such a row."""
    text = (files("headwater.log.postgres") / "sql" / "queries.sql").read_text(encoding="utf-8")
    found = {name: _COMMENT.sub("", body).strip().rstrip(";") for name, body in _NAMED.findall(text)}
    columns, entry = found.pop("events"), found.pop("entry")
    bare = columns.replace("e.data, e.metadata", "NULL::bytea AS data, NULL::bytea AS metadata")
    full = {name: body.replace("{events}", columns).replace("{entry}", entry) for name, body in found.items()}
    return full | {
        f"{name}_bare": body.replace("{events}", bare) for name, body in found.items() if "{events}" in body
    }


class Step(NamedTuple):
    """A file of SQL. A migration runs once and is never changed; functions are made again when their file changes."""

    name: str
    sql: str
    migration: bool

    @property
    def checksum(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


@cache
def steps() -> tuple[Step, ...]:
    """What makes the schema, in order."""
    root = files("headwater.log.postgres") / "sql"
    return tuple(
        Step(f"{folder}/{entry.name}", entry.read_text(encoding="utf-8"), folder == "migrations")
        for folder in ("migrations", "functions")
        for entry in sorted((root / folder).iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".sql")
    )
