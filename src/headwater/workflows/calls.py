"""What a workflow asks of the engine, as its code holds it: a step that is awaited, a hook."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from headwater.app.arguments import Payload
from headwater.app.steps import Step
from headwater.errors import Refused, RunEvicted
from headwater.workflows.frames import frame

if TYPE_CHECKING:
    from headwater.workflows.execution import Execution

T = TypeVar("T")


class StepCall(Coroutine[Any, Any, T]):
    """A call of a step: a coroutine that gets its number when it is first advanced, and does nothing before."""

    __slots__ = (
        "_advancing",
        "_execution",
        "_made_at",
        "_made_in",
        "_serial",
        "action",
        "args",
        "kwargs",
        "step",
    )

    def __init__(
        self,
        execution: Execution,
        step: Step[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        action: str | None,
    ) -> None:
        self._execution = execution
        self._serial = execution.loop.next_serial()
        self._advancing: Generator[Any, Any, T] | None = None
        self.step, self.args, self.kwargs, self.action = step, args, kwargs, action
        caller = frame(3)  # what called the step
        self._made_in, self._made_at = caller.f_code, caller.f_lasti

    @property
    def where(self) -> str:
        """The line that made the call."""
        lines = list(self._made_in.co_positions())
        line = lines[self._made_at // 2][0] if self._made_at // 2 < len(lines) else None
        return f"{self._made_in.co_filename}:{line or '?'} in {self._made_in.co_name}"

    def __hash__(self) -> int:
        return self._serial

    def __await__(self) -> Generator[Any, Any, T]:
        if self._advancing is not None:
            raise RuntimeError(f"The call of {self.step!r} was awaited already. Call the step again.")
        self._advancing = self._advance()
        return self._advancing

    def send(self, value: Any, /) -> Any:
        if self._advancing is None:
            self._advancing = self._advance()
        return self._advancing.send(value)

    def throw(self, *error: Any) -> Any:
        if self._advancing is None:
            self._advancing = self._advance()
        return self._advancing.throw(*error)

    def close(self) -> None:
        if self._advancing is not None:
            self._advancing.close()

    def _advance(self) -> Generator[Any, Any, T]:
        execution = self._execution
        try:
            call, future = execution.issue_step(self)
        except RunEvicted:
            if execution.is_pestered():
                yield  # to code that tries again for ever: it is left hanging
            raise
        try:
            result: T = yield from future
        except asyncio.CancelledError:
            execution.abandon_step(call)
            raise
        return result


class RunHook(Generic[T]):
    """A hook of a run."""

    def __init__(self, execution: Execution, payload: type[T], token: str | None) -> None:
        self._execution = execution
        self.call, self._token = execution.issue_hook(self, token)
        self._payload = Payload(payload, f"The payload for hook {self._token!r}")
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._come: deque[Any] = deque()
        self._error: Exception | None = None
        self.closed = False

    @property
    def token(self) -> str:
        return self._token

    def __await__(self) -> Generator[Any, Any, T]:
        payload = yield from self._next().__await__()
        self.close()
        return payload

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self.closed and not self._come:
            raise StopAsyncIteration
        return await self._next()

    async def _next(self) -> T:
        if self._error is not None:
            raise self._error
        if not self._come:
            if self.closed:
                raise Refused(f"Hook {self._token!r} is closed: it was awaited, or closed. Open another.")
            future: asyncio.Future[Any] = self._execution.loop.create_future()
            self._waiting.append(future)
            try:
                await future
            finally:
                if future in self._waiting:
                    self._waiting.remove(future)
            if self._error is not None:
                raise self._error
        payload: T = self._payload.load(self._come.popleft())
        return payload

    def close(self) -> None:
        """Take no more payloads."""
        if not self.closed:
            self.closed = True
            self._execution.close_hook(self.call)

    # Told by the execution

    def receive(self, plain: Any) -> None:
        if not self.closed:
            self._come.append(plain)
            self._wake_one()

    def fail(self, error: Exception) -> None:
        self._error, self.closed = error, True
        for _ in range(len(self._waiting)):
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
