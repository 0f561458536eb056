"""An event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from headwater.errors import LogClosed

T = TypeVar("T")


class Portal:
    """Runs coroutines on its loop for callers of other threads, who wait. Ctrl-C ends the waiting, and cancels."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None

    def open(self) -> None:
        ready: Future[asyncio.AbstractEventLoop] = Future()

        async def main() -> None:
            stop = self._stop = asyncio.Event()
            ready.set_result(asyncio.get_running_loop())
            await stop.wait()

        self._thread = threading.Thread(
            target=asyncio.run, args=(main(),), name="headwater-portal", daemon=True
        )
        self._thread.start()
        self._loop = ready.result()

    def close(self) -> None:
        loop, thread, stop = self._loop, self._thread, self._stop
        self._loop = self._thread = self._stop = None
        if loop is not None and thread is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set)
            thread.join()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns, or raises."""
        if self._loop is None:
            work.close()
            raise LogClosed("The client is not open. Use it inside `with`.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items of an asynchronous iterator, one by one."""
        while True:
            try:
                yield self.run(_next(items))
            except StopAsyncIteration:
                return


async def _next(items: AsyncIterator[T]) -> T:
    return await items.__anext__()
