"""How many runs a worker may take up, and of whom, so that no tenant keeps the others out.

Promise. However many runs of one tenant do not end, another tenant's get places, of a thousand at least fifty.

Why it is right. A tenth of the places is a reserve. The rest goes to whoever has waited longest, and one tenant may
fill it. When only the reserve is left, it goes to tenants that hold fewer places than are free, and at a time no more
than lets as many stay free as one of them then holds. So who has filled the rest gets nothing of it, and who fills what
it gets, at once or one by one, leaves about as much as it took: of a hundred places, the seventh tenant still finds
one. Whoever comes after that waits, as in any queue, until a run ends.

To find what waits of other tenants is to look past all that waits of one. So while only the reserve is left, there is a
look a `poll` apart at most, and rarer if it takes long: a twentieth of the time may go into it.

Rejected: an equal share for each tenant. It leaves places empty when there are few tenants, or takes them away from
runs that have begun, and who is to have a share is known only after a look at all that waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final, NamedTuple

_RESERVE: Final = 10


class Share(NamedTuple):
    """What may be taken up: at most so many, and none of the tenants `without`; `kept` if it is of the reserve."""

    most: int
    without: tuple[str, ...] = ()
    kept: bool = False


def reserve(places: int) -> int:
    """How many of a worker's places are kept; below ten, there is nothing to keep."""
    return places // _RESERVE


def next_share(places: int, runs: Collection[tuple[str, str]], coming: int = 0) -> Share:
    """What may be taken up next, when these runs (tenant, id) are there and others are on their way."""
    free = places - len(runs) - coming
    if free > reserve(places):
        return Share(free - reserve(places))
    held = Counter(tenant for tenant, _ in runs)
    most = max((n for n in held.values() if n < free), default=0)
    without = sorted(tenant for tenant, n in held.items() if n >= free)
    return Share(max(0, (free - most + 1) // 2), tuple(without), kept=True)
