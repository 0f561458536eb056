"""Workers, what they own, and the lists; `ownership` says what is promised, sql/functions/60_owners.sql why it holds.

Claims and looks at wake marks are sent once: a second sending would not give what the first has claimed. So they raise
`LogUnavailable` when their answer is lost, and the worker may then own what it has not heard of until it is swept away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from headwater.log.ownership import EntryRow, HeldReady, Swept, Taken, TakenReady, Woken, WorkerRow
from headwater.log.postgres.connections import Connections
from headwater.log.postgres.statements import queries

_SINGLE: Final = "default"
_NEWEST: Final = (2**63 - 1, "")


class Owners:
    """The part of the backend that says who owns what."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._queries = queries()

    async def enrol(self, worker: WorkerRow) -> None:
        await self._connections.fetch(self._queries["enrol"], *worker[:4], tenant=None)

    async def beat(self, worker: str, data: bytes) -> int | None:
        rows = await self._connections.fetch(self._queries["beat"], worker, data, tenant=None)
        return rows[0][0] if rows else None

    async def workers(self) -> Sequence[WorkerRow]:
        return [
            WorkerRow(*row) for row in await self._connections.fetch(self._queries["workers"], tenant=None)
        ]

    async def held(self) -> Mapping[str, int]:
        return dict(await self._connections.fetch(self._queries["held"], tenant=None))

    async def held_ready(self, holder: str) -> Sequence[HeldReady]:
        rows = await self._connections.fetch(self._queries["held_ready"], holder, tenant=None)
        return [HeldReady(*row) for row in rows]

    async def sweep(self, dead: Sequence[str], left: Sequence[str]) -> Swept:
        rows = await self._connections.fetch(self._queries["sweep"], list(dead), list(left), tenant=None)
        return Swept(*rows[0])

    async def take(
        self, holder: str, labels: Sequence[str], limit: int, without: Sequence[str], *, suspects: bool
    ) -> Sequence[Taken]:
        rows = await self._connections.fetch_once(
            self._queries["take"], holder, list(labels), limit, suspects, list(without)
        )
        return [Taken(*row) for row in rows]

    async def woken(self, holder: str, limit: int) -> Sequence[Woken]:
        return [
            Woken(*row) for row in await self._connections.fetch_once(self._queries["woken"], holder, limit)
        ]

    async def take_ready(self, holder: str, wanted: Mapping[str, int]) -> Sequence[TakenReady]:
        limits = list(wanted.values())
        rows = await self._connections.fetch_once(self._queries["take_ready"], holder, list(wanted), limits)
        return [TakenReady(*row) for row in rows]

    async def entries(
        self,
        tenant: str | None,
        of_list: str,
        label: str | None,
        statuses: Sequence[str],
        keys: Sequence[str],
        before: tuple[int, str] | None,
        limit: int,
    ) -> Sequence[EntryRow]:
        arguments: list[Any] = [tenant, of_list, label, list(statuses) or None, *(before or _NEWEST), limit]
        name = "entries" if tenant in {None, _SINGLE} else "entries_of_tenant"
        if label is not None and not statuses and not keys and tenant in {None, _SINGLE}:
            name = "entries_of_label"
            arguments = [tenant, of_list, label, *(before or _NEWEST), limit]
        if keys:
            name = "entries_of_keys"
            arguments.append(list(keys))
        rows = await self._connections.fetch(self._queries[name], *arguments, tenant=tenant)
        return [EntryRow(*row) for row in rows]
