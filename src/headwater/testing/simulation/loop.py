"""An asyncio event loop with virtual time, in which the real program runs in a simulated world.

It promises
1. The same seed and program give the same schedule, to the byte: `fingerprint()`.
2. Time is virtual. When nothing is ready it jumps to the next timer; nothing sleeps, and no thread is started.
3. By default callbacks run as asyncio promises, first in first out and timers behind what was ready; the
   seed draws the latency of executor jobs. Shuffled, any callback that is ready or due may be next.
4. `kill` is a crash: nothing of the process runs again in the simulation, not even a `finally`.
5. A deadlock or a livelock raises at once, and names the culprits.

Why it is right
- Chance enters asyncio in few places. Tasks and futures hash by serial, since TaskGroup and `wait` walk sets
  of them. Names come from the loop. Pending tasks are held, and garbage is collected at fixed steps, since the
  collector closes async generators. The schedule has its own Random; `loop.random` is the world's.
- A callback belongs to the process of its task, else of its context, else to the one now running. So a context
  emptied on purpose does not leave its process; callbacks of futures are stamped, since others resolve them.
  What outlives a process (a server, a log in shared memory) must run in tasks made under `process("world")`.
- Dropping a coroutine runs its clean-up. So the dead are kept until `close()`, and unwound when the loop
  refuses every call: they meet no simulation. Read results and files before; ports can ask `is_closed()`.
- A job runs inline, without loop or context as in a thread, and is answered later. Both moments are drawn, so
  that a crash fits between; a cancelled job may still run. Jobs of one explicit executor keep their order:
  true of one thread, allowed for more.

Rejected: BaseEventLoop with a fake selector (kill, pause and shuffle would hang on private methods); crash by
`cancel()` or `coro.close()` (runs what no crash runs); leaking the dead (2,000 seeds would keep their files and
memory); threads (the operating system would decide). It is long because an event loop is one class, and half
of it is asyncio's interface.
"""

import asyncio
import functools
import gc
import hashlib
import heapq
import itertools
import logging
import math
import random
import sys
import threading
import warnings
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, TypeVarTuple, cast

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Details = dict[str, Any]
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, Details], object]
GC_EVERY = 4096

# Documented for those who extend asyncio, in spite of their names.
_get_running_loop = asyncio._get_running_loop  # noqa: SLF001
_set_running_loop = asyncio._set_running_loop  # noqa: SLF001
_unregister_task = asyncio.tasks._unregister_task  # noqa: SLF001


class SimulationError(RuntimeError):
    """The simulation cannot go on."""


class NoRealWorldError(SimulationError, NotImplementedError):
    """The program reached for something that a simulated world does not have."""


class Deadlock(SimulationError):
    """Nothing is ready, no timer is set, and the simulation is not done."""


class RunawayError(SimulationError):
    """Callbacks never end."""


@dataclass(eq=False, slots=True)
class Process:
    """A simulated process. A restart is a new one of the same name."""

    name: str
    incarnation: int
    alive: bool = True
    paused_until: float = -math.inf

    def __str__(self) -> str:
        return f"{self.name}.{self.incarnation}"


_PROCESS: ContextVar[Process] = ContextVar("headwater simulated process")


class SimulationFuture(asyncio.Future[T]):
    serial: int

    def __hash__(self) -> int:
        return self.serial

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        loop = self.get_loop()
        if context is None and isinstance(loop, SimulationLoop):
            process, context = loop.current_process(), copy_context()
            context.run(_PROCESS.set, process)
        super().add_done_callback(fn, context=context)


class SimulationTask(SimulationFuture[T], asyncio.Task[T]):
    _log_destroy_pending: bool

    def __init__(self, coro: Any, *, serial: int, process: Process, **options: Any) -> None:
        self.coroutine, self.serial, self.process = coro, serial, process
        super().__init__(coro, **options)

    def bury(self) -> None:
        self._log_destroy_pending = False
        _unregister_task(self)

    def unwind(self) -> None:
        """Push the coroutine out, again after each await of its clean-up. One that never goes is left."""
        for _ in range(100):
            with suppress(BaseException):
                awaited = self.coroutine.throw(GeneratorExit)
                if isinstance(awaited, asyncio.Future):
                    awaited._asyncio_future_blocking = False  # noqa: SLF001  as a task does when it takes one
                continue
            return

    def where(self) -> str:
        lines, awaited = [f"{self.get_name()} in {self.process}"], self.coroutine
        while awaited is not None:
            if frame := _first(awaited, "cr_frame", "gi_frame", "ag_frame"):
                lines.append(f"  {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")
            awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")
        return "\n".join(lines)


class Callback(asyncio.TimerHandle):
    """A callback, ready or timed, with the process and the task that it belongs to."""

    __slots__ = ("process", "task")
    _callback: Callable[..., object]
    process: Process
    task: SimulationTask[Any] | None

    def fire(self) -> None:
        self._run()

    def label(self) -> str:
        if self.task is not None and getattr(self._callback, "__name__", None) in {None, "task_wakeup"}:
            return f"{self.process} {self.task.get_name()}"
        return f"{self.process} {_label(self._callback)}"


def typical_latency(chance: random.Random) -> float:
    """Mostly under a millisecond, rarely half a second. Plain arithmetic, so equal on every machine."""
    draw = chance.random()
    return 0.0002 + 0.0005 * draw / (1.001 - draw)


def _first(value: object, *names: str) -> Any:
    return next((getattr(value, name) for name in names if hasattr(value, name)), None)


def _label(function: object) -> str:
    """A name without addresses."""
    if isinstance(function, functools.partial):
        return _label(cast("functools.partial[object]", function).func)
    return getattr(function, "__qualname__", type(function).__qualname__)


def _context_of(process: Process) -> Context:
    context = Context()
    context.run(_PROCESS.set, process)
    return context


def _refused(attempt: str) -> Any:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise NoRealWorldError(
            f"The program tried to {attempt}. A simulated world has no real network, signals, processes or tasks: "
            "hand the program a simulated port instead."
        )

    return refuse


class SimulationLoop(asyncio.AbstractEventLoop):
    """The event loop of a simulated world; the note on top of this file says how it behaves."""

    def __init__(
        self,
        seed: int,
        *,
        shuffled: bool = False,
        start: float = 0.0,
        latency: Callable[[random.Random], float] = typical_latency,
        max_steps: int = 10_000_000,
        max_burst: int = 100_000,
        trace: int = 256,
    ) -> None:
        self.random = random.Random(seed)
        self.steps = 0
        self.trace: deque[tuple[int, float, str]] = deque(maxlen=trace)
        self.before_step: Callable[[], object] | None = None  # may kill or pause what is about to run
        self.slow_callback_duration = 0.1
        self._chance = random.Random(f"schedule {seed}")
        self._shuffled, self._now, self._latency = shuffled, start, latency
        self._max_steps, self._max_burst, self._burst = max_steps, max_burst, 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._ready: deque[Callback] = deque()
        self._timers: list[tuple[float, int, Callback]] = []
        self._cancelled = 0
        self._serials, self._task_numbers = itertools.count(1), itertools.count(1)
        self._tasks: dict[int, SimulationTask[Any]] = {}
        self._dead: list[SimulationTask[Any]] = []
        self._kept: list[Callback] = []
        self._generators: dict[int, tuple[weakref.ref[AsyncGenerator[Any, Any]], Process]] = {}
        self._last_job: dict[Executor | None, float] = {}
        self._world = self._current = Process("world", 1)
        self._processes = {"world": self._world}
        self._handler: ExceptionHandler | None = None
        self._thread = threading.get_ident()
        self._debug = self._running = self._stopping = self._closed = self._silent = False

    # Running

    def run_forever(self) -> None:
        self._check_open()
        if self._running or _get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")
        collecting, hooks = gc.isenabled(), sys.get_asyncgen_hooks()
        self._thread, self._running = threading.get_ident(), True
        gc.disable()
        sys.set_asyncgen_hooks(self._generator_started, self._generator_dropped)
        _set_running_loop(self)
        try:
            while True:
                self._turn()
                if self._stopping:
                    break
        finally:
            _set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
            self._running = self._stopping = False
            self._current = self._world
            if collecting:
                gc.enable()

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        self._check_open()
        main = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
        main.add_done_callback(self._main_done)
        try:
            self.run_forever()
        finally:
            main.remove_done_callback(self._main_done)
        if not main.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return main.result()

    def _main_done(self, main: asyncio.Future[Any]) -> None:
        if main.cancelled() or not isinstance(main.exception(), (KeyboardInterrupt, SystemExit)):
            self.stop()  # those two have left the loop already

    def stop(self) -> None:
        self._stopping = True

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End the world: unwind all that is suspended, dead or alive, where it can reach nothing."""
        if self._running:
            raise RuntimeError("Cannot close a running event loop")
        self._closed = self._silent = True
        running = _get_running_loop()
        _set_running_loop(self)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                while self._dead or self._tasks:
                    task = self._dead.pop() if self._dead else self._tasks.popitem()[1]
                    task.bury()
                    task.unwind()
                    del task
                for held in self._ready, self._timers, self._kept, self._generators:
                    held.clear()
        finally:
            _set_running_loop(running)
            self._silent = False

    def _check_open(self) -> None:
        if self._silent:
            raise GeneratorExit  # no Exception, that a clean-up would catch and try again
        if self._closed:
            raise RuntimeError("Event loop is closed")

    # The schedule

    def _turn(self) -> None:
        if not self._ready and not self._stopping:
            self._advance()
        while self._timers and self._timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(self._timers)[2])
        for _ in range(len(self._ready)):
            if self._shuffled:
                pick = self._chance.randrange(len(self._ready))
                self._ready[0], self._ready[pick] = self._ready[pick], self._ready[0]
            callback = self._ready.popleft()
            if self._may_run(callback):
                self._step(callback)
            if self._shuffled:
                break  # a timer may have come due

    def _advance(self) -> None:
        while self._timers:
            when, _, callback = self._timers[0]
            if callback.process.alive and not callback.cancelled():
                if when > self._now:
                    self._now, self._burst = when, 0
                return
            heapq.heappop(self._timers)
            self._may_run(callback)
        tasks = "\n".join(task.where() for task in self._tasks.values()) or "none"
        raise Deadlock(f"Nothing is ready and no timer is set at {self._now:.6f}. Pending tasks:\n{tasks}")

    def _may_run(self, callback: Callback) -> bool:
        if callback.cancelled():
            return False
        if not callback.process.alive:
            self._kept.append(callback)
            return False
        if callback.process.paused_until > self._now:
            self._push(callback.process.paused_until, callback)
            return False
        return True

    def _step(self, callback: Callback) -> None:
        self.steps += 1
        self._burst += 1
        if self.before_step is not None:
            self.before_step()
            if not self._may_run(callback):
                return
        label = callback.label()
        self._hash.update(f"{self._now!r} {label}\n".encode())
        self.trace.append((self.steps, self._now, label))
        if self._burst >= self._max_burst or self.steps >= self._max_steps:
            self._run_away(label)
        if self.steps % GC_EVERY == 0:
            gc.collect(0)
        self._current = callback.process
        callback.fire()
        self._current = self._world
        if callback.task is not None and callback.task.done():
            self._tasks.pop(callback.task.serial, None)

    def _run_away(self, label: str) -> NoReturn:
        stuck = self._burst >= self._max_burst
        what = f"{self._burst} callbacks without time passing" if stuck else f"{self.steps} callbacks"
        last = "\n".join(f"  {step} {time:.6f} {name}" for step, time, name in list(self.trace)[-8:])
        raise RunawayError(f"{what} at {self._now:.6f}, and no end. The next is {label}; the latest:\n{last}")

    def fingerprint(self) -> str:
        """A digest of every (time, label) so far: equal exactly when the schedules are."""
        return self._hash.hexdigest()

    def _callback(
        self, when: float, function: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> Callback:
        self._check_open()
        if threading.get_ident() != self._thread:
            raise SimulationError(
                f"{_label(function)} was scheduled from another thread. A simulation has one: let threads "
                "be jobs of run_in_executor or asyncio.to_thread, which run inline."
            )
        callback = Callback(when, function, args, self, context)
        owner = getattr(function, "__self__", None)
        callback.task = owner if isinstance(owner, SimulationTask) else None
        callback.process = callback.task.process if callback.task is not None else self._process_of(context)
        return callback

    def _push(self, when: float, callback: Callback) -> None:
        heapq.heappush(self._timers, (when, next(self._serials), callback))

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = self._callback(self._now, callback, args, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if math.isnan(when):
            raise ValueError("a timer cannot be set for NaN")
        handle = self._callback(when, callback, args, context)
        if when < math.inf:
            self._push(when, handle)
        return handle

    def _timer_handle_cancelled(self, _: asyncio.TimerHandle) -> None:
        self._cancelled += 1
        if self._cancelled > 1000 and self._cancelled > len(self._timers) / 2:
            self._timers = [timer for timer in self._timers if not timer[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled = 0

    # Futures, tasks and generators

    def create_future(self) -> asyncio.Future[Any]:
        self._check_open()
        future: SimulationFuture[Any] = SimulationFuture(loop=self)
        future.serial = next(self._serials)
        return future

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        self._check_open()
        serial, process = next(self._serials), self._process_of(context)
        name = name or f"Task-{next(self._task_numbers)}"
        task: SimulationTask[T] = SimulationTask(
            coro, serial=serial, process=process, loop=self, name=name, context=context, **options
        )
        if not task.done():
            self._tasks[serial] = task
        if not process.alive:
            self._bury(task)
        return task

    def pending_tasks(self) -> tuple[asyncio.Task[Any], ...]:
        """The living tasks that are not done, oldest first."""
        return tuple(self._tasks.values())

    def _generator_started(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators.pop(id(generator), None)  # of one that had this address: keep the starting order
        self._generators[id(generator)] = weakref.ref(generator), self.current_process()

    def _generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        _, process = self._generators.pop(id(generator), (None, self._world))
        if not self._closed:  # if it is, or if the process is dead, it goes without clean-up
            self.call_soon(self.create_task, generator.aclose(), context=_context_of(process))

    async def shutdown_asyncgens(self) -> None:
        living = [ref() for ref, process in self._generators.values() if process.alive]
        closing = [generator.aclose() for generator in living if generator is not None]
        for outcome in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(outcome, Exception):
                self.call_exception_handler({"message": "closing an async generator", "exception": outcome})

    # Executors

    def latency(self) -> float:
        """Draw how long one piece of I/O takes."""
        return self._latency(self._chance)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()

        def answer(settle: Callable[[Any], None], outcome: object) -> None:
            if not future.done():
                settle(outcome)

        def job() -> None:
            if future.cancelled() and self._chance.random() < 0.5:
                return
            settle: Callable[[Any], None] = future.set_result
            _set_running_loop(None)
            try:
                outcome: object = func(*args)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001  the waiter's, as in a thread
                settle, outcome = future.set_exception, error
            finally:
                _set_running_loop(self)
            self.call_at(self._job_moment(executor), answer, settle, outcome)

        job.__qualname__, answer.__qualname__ = f"job {_label(func)}", f"answer {_label(func)}"
        self.call_at(self._job_moment(executor), job, context=_context_of(self.current_process()))
        return future

    def _job_moment(self, executor: Executor | None) -> float:
        moment, last = self._now + self.latency(), self._last_job.get(executor, -math.inf)
        if executor is not None and moment <= last:
            moment = math.nextafter(last, math.inf)
        self._last_job[executor] = max(moment, last)
        return moment

    def set_default_executor(self, executor: Executor) -> None:
        """Jobs run inline, whatever the executor."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        await asyncio.sleep(self._last_job.get(None, self._now) - self._now)

    # Processes

    @contextmanager
    def process(self, name: str) -> Generator[Process, None, None]:
        """What is started inside belongs to the living process of this name, or to a new one."""
        process = self._processes.get(name)
        if process is None or not process.alive:
            process = Process(name, process.incarnation + 1 if process else 1)
            self._processes[name] = process
        token = _PROCESS.set(process)
        try:
            yield process
        finally:
            _PROCESS.reset(token)

    def current_process(self) -> Process:
        return _PROCESS.get(None) or self._current

    def _process_of(self, context: Context | None) -> Process:
        return self.current_process() if context is None else context.get(_PROCESS) or self._current

    def kill(self, name: str) -> None:
        """Crash a process. One that kills itself runs to its next suspension: `crash` is one."""
        process = self._named(name)
        if process is self._world:
            raise SimulationError("The world cannot be killed: stop or close the loop.")
        process.alive = False
        for task in [task for task in self._tasks.values() if task.process is process]:
            self._bury(task)

    async def crash(self) -> NoReturn:
        """Kill the calling process, here."""
        self.kill(self.current_process().name)
        while True:
            await self.create_future()

    def pause(self, name: str, until: float) -> None:
        """Stall a process like SIGSTOP: all that it would do waits until this time, or a later one that was said."""
        if not math.isfinite(until):
            raise ValueError("a pause needs a finite end; to stop a process for good, kill it")
        process = self._named(name)
        process.paused_until = max(until, process.paused_until)

    def _named(self, name: str) -> Process:
        if name not in self._processes:
            raise SimulationError(f"There is no process {name!r}; there are {', '.join(self._processes)}.")
        return self._processes[name]

    def _bury(self, task: SimulationTask[Any]) -> None:
        self._tasks.pop(task.serial, None)
        self._dead.append(task)
        task.bury()

    # Errors and debugging

    def get_debug(self) -> bool:
        return self._debug

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001
        self._debug = enabled

    def get_exception_handler(self) -> ExceptionHandler | None:
        return self._handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        self._handler = handler

    def default_exception_handler(self, context: Details) -> None:
        details = [f"{key}: {value!r}" for key, value in context.items() if key != "message"]
        text = "\n".join([str(context.get("message")), *details])
        logging.getLogger("asyncio").error(text, exc_info=context.get("exception"))

    def call_exception_handler(self, context: Details) -> None:
        if not self._silent:
            (self._handler or SimulationLoop.default_exception_handler)(self, context)

    # What a simulated world does not have

    add_reader = add_writer = remove_reader = remove_writer = _refused("watch a file descriptor")
    add_signal_handler = remove_signal_handler = _refused("handle a signal")
    create_connection = create_unix_connection = sock_connect = start_tls = _refused("open a connection")
    create_server = create_unix_server = sock_accept = connect_accepted_socket = _refused("serve connections")
    create_datagram_endpoint = _refused("open a datagram socket")
    sock_recv = sock_recv_into = sock_recvfrom = sock_recvfrom_into = _refused("read a socket")
    sock_sendall = sock_sendto = sock_sendfile = sendfile = _refused("write to a socket")
    connect_read_pipe = connect_write_pipe = _refused("open a pipe")
    subprocess_exec = subprocess_shell = _refused("start a subprocess")
    get_task_factory = set_task_factory = _refused("set a task factory")
    getaddrinfo = getnameinfo = _refused("resolve a host name")
