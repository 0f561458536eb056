"""A backend with something changed on its way to the log: how tests make trouble that every backend can have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from headwater.log.port import Backend, BatchUnknown, Call, Outcome, Page, Query


class Around:
    """Everything that a subclass does not define is the inner backend's."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def backend(self) -> Backend:
        return cast(Backend, self)


class Recording(Around):
    """Keeps what each flush held, and lets a test stop flushes before they reach the backend."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.batches: list[Sequence[Call]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        self.batches.append(calls)
        await self.go.wait()
        return await self.inner.append(shard, calls)


class Unsure(Around):
    """Loses the answer to some flushes, before or after the backend has written them."""

    def __init__(self, inner: Backend, *, lose: Sequence[str]) -> None:
        super().__init__(inner)
        self.left = list(lose)

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        what = self.left.pop(0) if self.left else "nothing"
        if what == "question":
            raise BatchUnknown
        outcomes = await self.inner.append(shard, calls)
        if what == "answer":
            raise BatchUnknown
        return outcomes


class Failing(Around):
    """Fails a flush for as long as `fault` gives an error for its calls."""

    def __init__(self, inner: Backend, fault: Callable[[Sequence[Call]], Exception | None]) -> None:
        super().__init__(inner)
        self.fault = fault

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        error = self.fault(calls)
        if error is not None:
            raise error
        return await self.inner.append(shard, calls)


class _Silence:
    def announce(self, shard: int, position: int) -> None:
        pass

    async def wait(self, timeout: float) -> None:
        await asyncio.sleep(timeout)


class Deaf(Around):
    """Loses every hint."""

    hints = _Silence()


class Rewritten(Around):
    """Shows readers another history than the backend holds."""

    def __init__(self, inner: Backend, rewrite: Callable[[Page], Page]) -> None:
        super().__init__(inner)
        self.rewrite = rewrite

    async def read(self, query: Query) -> Page:
        return self.rewrite(await self.inner.read(query))
