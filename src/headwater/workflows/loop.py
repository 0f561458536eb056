"""The deterministic loop: standard asyncio, driven by the events of one run.

Promise. What a workflow does is a function of the events that it was given and of their order. So the same events make
the same tasks in the same order, with the same names, and asyncio's own tools (gather, TaskGroup, timeout, Queue,
Lock, ...) come to the same decisions in every process, on every replay.

Why it is right.
- Nothing happens but in a *turn*: events are delivered one at a time, and the loop runs until nothing is ready. There
  is no input but the event: `time()` is the time of the last event, and no file descriptor, thread or signal can
  wake the loop.
- Callbacks run in the order in which they were scheduled. What the standard library keeps in sets (tasks that a
  TaskGroup cancels, futures that are waited for) is ordered by hashes, so tasks and futures hash by a serial of the
  run, not by their address. Names of tasks come from the same counter.
- The root task starts in an empty context, so nothing leaks in from whoever happened to run the turn.
- A timer fires only when the run is told so. Timers that are made and cancelled within a turn leave no trace.
- A run that is let go is marked dead before its coroutines are closed, and a dead loop takes no callback: clean-up code
  may still run until it first awaits something, and can reach nothing (see `execution`).

A turn is run from a plain callback of the process's own loop, never from inside a task: the running loop is swapped for
the length of the turn, and Python 3.14 refuses to enter one task inside another.

`as_completed` puts what it is given into a set before it makes tasks of it. Coroutines hash by address there, so the
tasks' order would be chance; this is refused with the fix.

Rejected: one real loop for all runs with patched time (nothing could be told apart); a thread a run (a hop costs more
than several steps); hashing tasks by serial while asyncio's own registry of tasks holds them (runs would collide there:
they are taken out of it).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context
from types import CoroutineType
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple

from headwater.errors import NotInWorkflow
from headwater.workflows.frames import frame
from headwater.workflows.generators import Generators, attend
from headwater.workflows.guards import install

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_running_loop = asyncio._get_running_loop  # noqa: SLF001
_set_running_loop = asyncio._set_running_loop  # noqa: SLF001
_unregister_task = asyncio.tasks._unregister_task  # noqa: SLF001
_LOGGER: Final = logging.getLogger("headwater.workflows")
_LATEST: Final = 250_000_000_000.0
"""The year 9892: what is to come later never comes."""
_CLOSINGS: Final = 8
_AS_COMPLETED: Final = {"as_completed", "_AsCompletedIterator.__init__"}


class RunFuture(asyncio.Future[T]):
    """A future that sets order by its serial."""

    def __init__(self, serial: int, loop: asyncio.AbstractEventLoop) -> None:
        self.serial = serial
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.serial


class RunTask(asyncio.Task[T]):
    """A task that sets order by its serial."""

    _log_destroy_pending: bool

    def __init__(self, serial: int, coro: Any, **options: Any) -> None:
        self.serial = serial
        super().__init__(coro, **options)
        self._log_destroy_pending = False  # the run's end cancels what is left; else its process is gone
        _unregister_task(self)

    def __hash__(self) -> int:
        return self.serial

    def abandon(self) -> None:
        """Close the coroutine of a dead run, from within. What it raises then is nobody's."""
        self._log_destroy_pending = False
        stack: list[Any] = [self.get_coro()]
        while (awaited := getattr(stack[-1], "cr_await", None)) is not None and hasattr(awaited, "close"):
            stack.append(awaited)
        while stack:
            _close(stack.pop())


def _close(coro: Any) -> None:
    for _ in range(_CLOSINGS):
        try:
            coro.close()
        except RuntimeError:
            continue  # it awaits on, and is told again
        except BaseException:  # noqa: BLE001
            return
        return


class Callback(asyncio.Handle):
    def run(self) -> None:
        if not self.cancelled():
            self._run()


class Timer(asyncio.TimerHandle):
    """A timer; `call` is its number once it is durable."""

    call: int | None = None
    serial: int = 0

    def run(self) -> None:
        if not self.cancelled():
            self._run()


class RunLoop(asyncio.AbstractEventLoop):
    """The loop of one run."""

    def __init__(self, owner: Any) -> None:
        install()
        self.headwater_run = owner
        self.replaying = False
        """Whether this turn was run before, by this process or another."""
        self.now_us = 0
        self.dead = False
        self.failure: BaseException | None = None
        self.timers: dict[int, Timer] = {}
        """Pending timers by serial: those that have no call yet, and those that have."""
        self.cancelled: list[Timer] = []
        """Timers with a call that were cancelled since the last turn."""
        self._ready: deque[Callback | Timer] = deque()
        self._serial = 0
        self._tasks: list[RunTask[Any]] = []
        self._prune_at = 64
        self.generators = Generators(self._close_generator)

    # Turns

    def turn(self, deliver: Callable[[], object]) -> None:
        """Deliver something, and run until nothing is ready."""
        before = _running_loop()
        attend()
        _set_running_loop(self)
        try:
            deliver()
            ready = self._ready
            while ready and self.failure is None:
                try:
                    ready.popleft().run()
                except SystemExit:  # its task has it, and the run ends with it; the worker does not
                    continue
        finally:
            _set_running_loop(before)

    def kill(self) -> None:
        """Let the run go: nothing of it happens any more."""
        self.dead = True
        self.generators.clear()

        def close() -> None:
            for task in self._tasks:
                if not task.done():
                    task.abandon()

        self.turn(close)
        self._tasks.clear()
        self._ready.clear()
        self.timers.clear()

    def tasks(self) -> list[RunTask[Any]]:
        """Those that are not done, oldest first."""
        return [task for task in self._tasks if not task.done()]

    def _close_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        _ = self.create_task(generator.aclose())

    # What asyncio asks of a loop

    def time(self) -> float:
        return self.now_us / 1_000_000

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = Callback(callback, args, self, context)
        if not self.dead:
            self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = Timer(when, callback, args, self, context)
        if self.dead or when > _LATEST:
            return timer
        if when <= self.time():
            self._ready.append(timer)
            return timer
        timer.serial = self.next_serial()
        self.timers[timer.serial] = timer
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, Timer) and handle.serial in self.timers:
            del self.timers[handle.serial]
            if handle.call is not None:
                self.cancelled.append(handle)

    def fire(self, timer: Timer) -> None:
        """Run a timer's callback, now that its time is in the log."""
        self.timers.pop(timer.serial, None)
        self._ready.append(timer)

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def create_future(self) -> asyncio.Future[Any]:
        return RunFuture(self.next_serial(), self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        if isinstance(coro, CoroutineType):
            _refuse_set_of_coroutines()
        serial = self.next_serial()
        task: RunTask[T] = RunTask(
            serial, coro, loop=self, name=name or f"task-{serial}", context=context, **options
        )
        if len(self._tasks) > self._prune_at:
            self._tasks = self.tasks()
            self._prune_at = max(64, 2 * len(self._tasks))
        self._tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.dead:
            return
        error = context.get("exception")
        if context.get("handle") is not None and isinstance(error, BaseException):
            self.failure = error
            return
        self.default_exception_handler(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        _LOGGER.error(context.get("message"), exc_info=context.get("exception"))

    def get_exception_handler(self) -> None:
        return None

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return _running_loop() is self

    def is_closed(self) -> bool:
        return self.dead

    def get_task_factory(self) -> None:
        return None


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        fix = (
            "Make the function a step: sync ones run in a thread."
            if "executor" in name
            else "Do it in a step."
        )
        raise NotInWorkflow(f"loop.{name}() reaches outside the run", fix)

    return refuse


_OUTSIDE: Final = (
    "run_in_executor call_soon_threadsafe create_connection create_server create_unix_connection create_unix_server "
    "create_datagram_endpoint connect_read_pipe connect_write_pipe subprocess_exec subprocess_shell add_reader "
    "add_writer getaddrinfo getnameinfo sock_connect sock_accept sock_recv sock_sendall add_signal_handler "
    "run_forever run_until_complete start_tls sendfile"
)
for _name in _OUTSIDE.split():
    setattr(RunLoop, _name, _refusing(_name))


def _refuse_set_of_coroutines() -> None:
    """Whether `as_completed` is making tasks of bare coroutines: it would do so in the order of a set."""
    by = frame(2)
    if not by.f_code.co_name.endswith("ensure_future"):
        return
    for _ in range(4):
        if by.f_code.co_qualname in _AS_COMPLETED:
            raise NotInWorkflow(
                "asyncio.as_completed() would order bare coroutines by chance",
                "Give it tasks: asyncio.create_task(...) each, or a TaskGroup.",
            )
        if by.f_back is None:
            return
        by = by.f_back
