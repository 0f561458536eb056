"""One JSON object, or a table for people."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.harness import Result


def as_json(results: Mapping[str, Result]) -> str:
    return json.dumps({key: _plain(result) for key, result in results.items()}, indent=2)


def _plain(result: Result) -> dict[str, Any]:
    if result.error:
        return {"error": result.error, "unit": result.unit, "goal": result.goal, "reached": False}
    plain = {
        "ours": result.ours,
        "unit": result.unit,
        "limit": result.limit,
        "vs_limit": result.vs_limit,
        **({"peer": result.peer, "vs_peer": result.vs_peer} if result.peer is not None else {}),
        **result.also,
        "goal": result.goal,
        "reached": result.reached,
        **({"note": result.note} if result.note else {}),
    }
    return {name: _rounded(value) for name, value in plain.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3) if abs(value) < 100 else round(value)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return value


def as_table(results: Mapping[str, Result]) -> str:
    table = Table("case", "unit", "ours", "limit", "vs limit", "peer", "vs peer", "goal", "reached")
    for key, result in results.items():
        if result.error:
            table.add_row(key, result.unit, f"[red]{result.error}", *[""] * 4, result.goal, "[red]failed")
            continue
        plain = _plain(result)
        reached = {True: "[green]yes", False: "[red]no", None: "-"}[result.reached]
        figures = [_shown(plain.get(name)) for name in ("ours", "limit", "vs_limit", "peer", "vs_peer")]
        table.add_row(key, result.unit, *figures, result.goal, reached)
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=False)
    console.print(table)
    for key, result in results.items():
        extra = ", ".join(f"{name} {_shown(_rounded(value))}" for name, value in result.also.items())
        if extra or result.note:
            console.print(
                f"{key}: {'; '.join(text for text in (extra, result.note) if text)}", highlight=False
            )
    return out.getvalue()


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return "\n".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)
