"""One call of a function in one message, for connections behind a pooler in transaction mode.

With parameters the driver parses and executes in two exchanges. Behind a pooler those need a transaction around them,
and then the commit is a third: an append would hold its shard's lock while the client has the turn. COPY of a query is
the one statement whose rows the driver reads from a single message, and a single message is its own transaction. So the
arguments are written out as literals; none is ever taken for SQL, because text is escaped as E'' strings and bytes as
hex.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from headwater.log.postgres.parameters import TYPES


async def append_in_one_message(connection: Any, arguments: Sequence[Any]) -> Sequence[Any]:
    """The row that `headwater.append` returns, with its refusals as JSON text, as the driver gives it."""
    values = ", ".join([f"{_literal(v)}::{type}" for v, type in zip(arguments, TYPES, strict=True)])
    # no value can end its literal: see _literal
    sql = f"SELECT encode(convert_to(row_to_json(a)::text, 'UTF8'), 'hex') FROM headwater.append({values}) a"  # noqa: S608
    answer = bytearray()

    async def take(part: bytes) -> None:
        answer.extend(part)

    await connection.copy_from_query(sql, output=take)
    row = json.loads(bytes.fromhex(answer.decode()))
    refused = row["refused"]
    found = [row[name] for name in ("last_position", "heads", "positions", "versions", "known")]
    return [*found, None if refused is None else json.dumps(refused), row["recorded_at"]]


def _literal(value: Any) -> str:  # noqa: PLR0911 - one for each type
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
        case bytes():
            return f"decode('{value.hex()}', 'hex')"
        case UUID():
            return f"'{value}'"
        case _:
            return f"ARRAY[{', '.join([_literal(item) for item in value])}]"
