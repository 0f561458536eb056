"""Times and names as the commands on runs write them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from headwater.cli.output import plain

_MOST = 2000


def span(length: timedelta) -> str:
    """A length of time, in the unit that suits it."""
    seconds = length.total_seconds()
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def worker_name(worker: str) -> str:
    """Enough of a worker's id to tell it from others."""
    return plain(worker[:8])


def value(data: Any, most: int = _MOST) -> str:
    """A JSON value on one line."""
    text = plain(json.dumps(data, ensure_ascii=False))
    return text if len(text) <= most else f"{text[: most - 1]}…"
