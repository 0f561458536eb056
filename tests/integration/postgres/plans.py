"""How Postgres goes about a query."""

from __future__ import annotations

from typing import Any

import asyncpg


async def explained(connection: asyncpg.Connection, mode: str, sql: str, *arguments: Any) -> str:
    """Its plan, made for these arguments or for any, as `plan_cache_mode` says.

    An EXPLAIN with parameters of its own would be planned for these values in both modes, so the query is prepared.
    """
    await connection.execute(f"SET plan_cache_mode = {mode}")
    kinds = [kind.name for kind in (await connection.prepare(sql)).get_parameters()]
    await connection.execute(f"PREPARE asked ({', '.join(kinds)}) AS {sql}")
    given = [f"{_literal(value)}::{kind}" for value, kind in zip(arguments, kinds, strict=True)]
    rows = await connection.fetch(
        f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) EXECUTE asked ({', '.join(given)})"
    )
    generic = await connection.fetchval(
        "SELECT generic_plans FROM pg_prepared_statements WHERE name = 'asked'"
    )
    assert generic == (mode == "force_generic_plan")
    await connection.execute("DEALLOCATE asked")
    return "\n".join(row[0] for row in rows)


def _literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case str():
            return f"'{value}'"
        case _:
            return f"ARRAY[{', '.join(map(_literal, value))}]"
