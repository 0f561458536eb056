"""What a client stands on: a log of its own, or a server. The two are told apart by the address alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from headwater.app.workflows import Bound
from headwater.client.handle import RunEnd
from headwater.events.envelope import Recorded
from headwater.runs.entry import RunSummary
from headwater.runs.machines import RunStatus
from headwater.runs.state import RunState


class Started(NamedTuple):
    """A run that is there now. `new`: this start made it. `label` says who can execute it."""

    run: str
    new: bool
    label: str


class Side(Protocol):
    """All that a client does, for one tenant, with plain values."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def start_all(
        self, runs: Mapping[str, Bound[Any]], attributes: Mapping[str, str]
    ) -> list[Started]: ...
    async def send(
        self, token: str, payload: Any, run: str | None, key: str | None, actor: str | None
    ) -> None: ...
    async def cancel(self, run: str, reason: str | None) -> None: ...
    async def resume(self, run: str) -> None: ...
    async def get(self, run: str, version: int | None, until: datetime | None) -> RunState: ...
    async def list(
        self,
        workflow: str | None,
        status: Sequence[RunStatus],
        before: tuple[int, str] | None,
        limit: int,
    ) -> Sequence[RunSummary]: ...
    def history(self, run: str, until: datetime | None) -> AsyncIterator[Recorded]: ...
    async def wait_for(self, run: str, label: str | None, timeout: float | None) -> RunEnd: ...
