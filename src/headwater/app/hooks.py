"""A hook as a workflow holds it: awaited for one payload, or iterated for all."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, Self, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Hook(Protocol[T_co]):
    """A named place where the run waits for payloads from outside.

    `await hook` takes one payload and closes the hook; `async for payload in hook` takes them as they come, until the
    loop is left with `hook.close()` or the run ends.
    """

    @property
    def token(self) -> str: ...
    def __await__(self) -> Generator[object, None, T_co]: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> T_co: ...
    def close(self) -> None: ...
