import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from headwater.testing.simulation import (
    Deadlock,
    NoRealWorldError,
    RunawayError,
    SimulationError,
    SimulationLoop,
)

DAY = 86_400.0

World = Callable[..., SimulationLoop]


@pytest.fixture
def new_loop() -> Iterator[World]:
    made: list[SimulationLoop] = []

    def make(seed: int = 1, **options: object) -> SimulationLoop:
        made.append(SimulationLoop(seed, **options))
        return made[-1]

    yield make
    for loop in made:
        loop.close()


@pytest.fixture
def loop(new_loop: World) -> SimulationLoop:
    return new_loop()


async def note(said: list[str], *words: str, every: float = 0.0) -> None:
    for word in words:
        said.append(word)
        await asyncio.sleep(every)


class TestTime:
    def test_a_sleep_of_thirty_days_takes_no_real_time(self, loop: SimulationLoop) -> None:
        began = time.perf_counter()
        loop.run_until_complete(asyncio.sleep(30 * DAY))
        assert loop.time() == 30 * DAY
        assert time.perf_counter() - began < 1

    def test_time_begins_where_it_is_told(self, new_loop: World) -> None:
        loop = new_loop(start=1e9)
        loop.run_until_complete(asyncio.sleep(5))
        assert loop.time() == 1e9 + 5

    def test_time_stands_still_while_callbacks_are_ready(self, loop: SimulationLoop) -> None:
        loop.run_until_complete(note([], *"abcdef"))
        assert loop.time() == 0

    def test_a_cancelled_timer_neither_fires_nor_moves_time(self, loop: SimulationLoop) -> None:
        fired: list[str] = []
        loop.call_later(5, fired.append, "cancelled").cancel()
        loop.call_later(1, fired.append, "kept")
        with pytest.raises(Deadlock):
            loop.run_forever()
        assert (fired, loop.time()) == (["kept"], 1)

    def test_cancelled_timers_do_not_pile_up(self, loop: SimulationLoop) -> None:
        async def many_timeouts() -> None:
            for _ in range(20_000):
                async with asyncio.timeout(3 * DAY):
                    await asyncio.sleep(0)

        loop.run_until_complete(many_timeouts())
        assert len(loop._timers) < 3_000

    def test_a_timer_at_infinity_never_fires_and_one_at_nan_is_refused(self, loop: SimulationLoop) -> None:
        with pytest.raises(Deadlock):
            loop.run_until_complete(asyncio.sleep(float("inf")))
        with pytest.raises(ValueError, match="NaN"):
            loop.call_later(float("nan"), print)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("seed", range(20))
class TestAsyncioWorks:
    @pytest.fixture
    def loop(self, new_loop: World, seed: int, shuffled: bool) -> SimulationLoop:
        return new_loop(seed, shuffled=shuffled)

    def test_gather(self, loop: SimulationLoop) -> None:
        async def main() -> list[float]:
            return await asyncio.gather(*(asyncio.sleep(n, n) for n in (3.0, 1.0, 2.0)))

        assert loop.run_until_complete(main()) == [3, 1, 2]
        assert loop.time() == 3

    def test_a_task_group_cancels_the_others_when_one_fails(self, loop: SimulationLoop) -> None:
        cancelled: list[int] = []

        async def patient(n: int) -> None:
            try:
                await asyncio.sleep(DAY)
            except asyncio.CancelledError:
                cancelled.append(n)
                raise

        async def failing() -> None:
            await asyncio.sleep(1)
            raise LookupError

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for n in range(5):
                    group.create_task(patient(n))
                group.create_task(failing())

        with pytest.raises(ExceptionGroup) as raised:
            loop.run_until_complete(main())
        assert raised.group_contains(LookupError)
        assert sorted(cancelled) == [0, 1, 2, 3, 4]
        assert loop.time() == 1

    def test_timeout_and_wait_for(self, loop: SimulationLoop) -> None:
        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(7):
                    await asyncio.sleep(DAY)
            assert loop.time() == 7
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 3)
            assert loop.time() == 10
            assert await asyncio.wait_for(asyncio.sleep(1, "in time"), 3) == "in time"

        loop.run_until_complete(main())

    def test_queues_locks_and_semaphores(self, loop: SimulationLoop) -> None:
        async def main() -> list[int]:
            queue, lock, got = asyncio.Queue[int](2), asyncio.Lock(), list[int]()

            async def produce() -> None:
                for n in range(10):
                    await queue.put(n)

            async def consume() -> None:
                while True:
                    n = await queue.get()
                    async with lock, asyncio.Semaphore(1):
                        await asyncio.sleep(0.1)
                        got.append(n)
                    queue.task_done()

            consumers = [asyncio.create_task(consume()) for _ in range(3)]
            await produce()
            await queue.join()
            for consumer in consumers:
                consumer.cancel()
            await asyncio.wait(consumers)
            return got

        assert sorted(loop.run_until_complete(main())) == list(range(10))
        assert loop.time() == pytest.approx(1)

    def test_as_completed_shield_and_condition(self, loop: SimulationLoop) -> None:
        async def main() -> list[int]:
            done = [await each for each in asyncio.as_completed([asyncio.sleep(n, n) for n in (3, 1, 2)])]
            condition = asyncio.Condition()

            async def signal_it() -> None:
                async with condition:
                    condition.notify_all()

            async with condition:
                asyncio.get_running_loop().call_later(1, lambda: kept.append(loop.create_task(signal_it())))
                await condition.wait()
            return [*done, await asyncio.shield(asyncio.sleep(1, 4))]

        kept: list[asyncio.Task[None]] = []
        assert loop.run_until_complete(main()) == [1, 2, 3, 4]

    def test_a_job_in_a_thread(self, loop: SimulationLoop) -> None:
        async def main() -> tuple[int, int]:
            return await asyncio.to_thread(threading.get_ident), await loop.run_in_executor(None, pow, 2, 5)

        assert loop.run_until_complete(main()) == (threading.get_ident(), 32)
        assert 0 < loop.time() < 3


class TestOrder:
    def test_callbacks_run_first_in_first_out(self, loop: SimulationLoop) -> None:
        said: list[str] = []
        for word in "abc":
            loop.call_soon(said.append, word)
        loop.call_soon(lambda: loop.call_soon(said.append, "e"))
        loop.call_soon(said.append, "d")
        loop.call_later(0, said.append, "due, but behind what was ready")
        loop.call_later(1, loop.stop)
        loop.run_forever()
        assert said == [*"abcd", "due, but behind what was ready", "e"]

    def test_the_order_is_that_of_asyncio(self, loop: SimulationLoop) -> None:
        def play(loop: asyncio.AbstractEventLoop) -> list[str]:
            said: list[str] = []

            async def main() -> None:
                async with asyncio.TaskGroup() as group:
                    for name in "abc":
                        group.create_task(note(said, name + "1", name + "2", name + "3"))
                    loop.call_soon(said.append, "soon")
                    task = group.create_task(note(said, "never"))
                    task.add_done_callback(lambda _: said.append("gone"))
                    task.cancel()
                queue, lock = asyncio.Queue[str](1), asyncio.Lock()

                async def put(name: str) -> None:
                    async with lock:
                        await queue.put(name)
                    said.append(f"put {name}")

                async def get() -> None:
                    said.append(f"got {await queue.get()}")

                await asyncio.gather(put("x"), put("y"), get(), put("z"), get(), get())

            loop.run_until_complete(main())
            return said

        real = asyncio.new_event_loop()
        try:
            assert play(loop) == play(real)
        finally:
            real.close()

    def test_due_timers_queue_behind_all_that_is_ready_as_in_asyncio(self, loop: SimulationLoop) -> None:
        def play(loop: asyncio.AbstractEventLoop) -> list[str]:
            said: list[str] = []
            loop.call_soon(
                lambda: (loop.call_later(0, said.append, "timer"), loop.call_soon(said.append, "c"))
            )
            loop.call_soon(lambda: loop.call_soon(said.append, "d"))
            loop.run_until_complete(asyncio.sleep(0.01))
            return said

        real = asyncio.new_event_loop()
        try:
            assert play(loop) == play(real) == ["c", "d", "timer"]
        finally:
            real.close()

    def test_timers_with_one_deadline_fire_in_the_order_they_were_made(self, loop: SimulationLoop) -> None:
        fired: list[int] = []
        for n in range(50):
            loop.call_at(10, fired.append, n)
        loop.call_at(11, loop.stop)
        loop.run_forever()
        assert fired == list(range(50))

    def test_shuffled_orders_differ_by_seed_and_only_by_seed(self, new_loop: World) -> None:
        def order(seed: int) -> tuple[tuple[str, ...], str]:
            said: list[str] = []
            loop = new_loop(seed, shuffled=True)

            async def main() -> None:
                await asyncio.gather(*(note(said, *(f"{name}{n}" for n in range(3))) for name in "abcd"))

            loop.run_until_complete(main())
            return tuple(said), loop.fingerprint()

        assert len({order(seed)[0] for seed in range(20)}) == 20
        assert len({order(seed)[1] for seed in range(20)}) == 20
        assert all(order(seed) == order(seed) for seed in range(20))

    def test_shuffled_due_timers_are_reordered_too(self, new_loop: World) -> None:
        def order(seed: int) -> tuple[int, ...]:
            fired: list[int] = []
            loop = new_loop(seed, shuffled=True)
            for n in range(5):
                loop.call_at(10, fired.append, n)
            loop.call_at(11, loop.stop)
            loop.run_forever()
            return tuple(fired)

        assert len({order(seed) for seed in range(20)}) > 10


SCRIPT = """
    import asyncio, sys
    from headwater.testing.simulation import SimulationLoop

    seed, shuffled, ballast = int(sys.argv[1]), sys.argv[2] == "True", int(sys.argv[3])
    moved = [bytearray(17 * n % 4096) for n in range(ballast)]  # other addresses
    held = [[] for _ in range(ballast)]  # another phase of the garbage collector
    said = []

    async def numbers():
        try:
            for n in range(3):
                yield n
                await asyncio.sleep(0.001)
        finally:
            await asyncio.sleep(0)
            said.append("generator closed")

    async def leak():
        generator = numbers()
        knot = [generator]
        knot.append(knot)  # closed only by the garbage collector
        await generator.__anext__()

    async def child(n):
        try:
            await asyncio.sleep(1 + n % 3)
            await asyncio.to_thread(said.append, n)
            if n == 4:
                raise LookupError
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            said.append(f"cancelled {n}")
            raise

    async def main():
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                for n in range(12):
                    group.create_task(child(n))
        except* LookupError:
            pass
        futures = {loop.create_future() for _ in range(9)}
        for future in futures:
            loop.call_soon(future.set_result, said.append(future.serial))
        done, _ = await asyncio.wait(futures)
        said.extend(future.serial for future in done)
        tasks = {asyncio.create_task(asyncio.sleep(n % 2)) for n in range(9)}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        said.extend(task.get_name() for task in done)
        said.extend(task.get_name() for task in asyncio.all_tasks())
        for _ in range(200):
            await leak()
        await asyncio.gather(*[asyncio.sleep(0.01 * n) for n in range(3000)])

    loop = SimulationLoop(seed, shuffled=shuffled)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    assert said.count("generator closed") == 200
    print(loop.fingerprint(), loop.steps, said.count("generator closed"), said)
"""


def play_apart(seed: int, *, shuffled: bool, hash_seed: int, ballast: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(seed), str(shuffled), str(ballast)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    ).stdout


class TestDeterminism:
    @pytest.mark.parametrize("shuffled", [False, True])
    def test_hash_seeds_addresses_and_the_collector_do_not_move_the_schedule(self, shuffled: bool) -> None:
        runs = {
            play_apart(7, shuffled=shuffled, hash_seed=hash_seed, ballast=ballast)
            for hash_seed, ballast in ((0, 0), (1, 333), (2, 1_234), (3, 50_001))
        }
        assert len(runs) == 1
        assert play_apart(8, shuffled=shuffled, hash_seed=0, ballast=0) not in runs

    def test_draws_of_the_world_do_not_move_the_schedule(self, new_loop: World) -> None:
        def play(draws: int) -> str:
            loop = new_loop(3, shuffled=True)
            for _ in range(draws):
                loop.random.random()
            loop.run_until_complete(asyncio.wait_for(asyncio.to_thread(note, [], "a"), 10)).close()
            return loop.fingerprint()

        assert play(0) == play(100)

    def test_task_names_are_the_loops_own(self, new_loop: World) -> None:
        async def name() -> str:
            task = asyncio.current_task()
            assert task
            return task.get_name()

        async def main() -> list[str]:
            return [await name(), *await asyncio.gather(name(), name())]

        assert new_loop().run_until_complete(main()) == ["Task-1", "Task-2", "Task-3"]
        assert new_loop().run_until_complete(main()) == ["Task-1", "Task-2", "Task-3"]

    def test_the_trace_tells_what_ran_when_without_addresses(self, new_loop: World) -> None:
        loop = new_loop(trace=4)

        async def main() -> None:
            await asyncio.sleep(1)
            with loop.process("worker"):
                await asyncio.create_task(asyncio.sleep(0), name="job")
            task = asyncio.current_task()
            assert task
            loop.call_soon(task.uncancel)

        loop.run_until_complete(main())
        assert list(loop.trace) == [
            (5, 1.0, "worker.1 job"),
            (6, 1.0, "world.1 Task-1"),
            (7, 1.0, "world.1 SimulationTask.uncancel"),
            (8, 1.0, "world.1 SimulationLoop._main_done"),
        ]

    def test_automatic_collection_is_on_again_afterwards(self, loop: SimulationLoop) -> None:
        seen: list[bool] = []
        loop.call_soon(lambda: seen.append(gc.isenabled()))
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert (seen, gc.isenabled()) == ([False], True)


class TestExecutors:
    def test_a_job_runs_later_than_asked_and_is_answered_later_still(self, loop: SimulationLoop) -> None:
        async def main() -> tuple[float, float]:
            return await asyncio.to_thread(loop.time), loop.time()

        ran, answered = loop.run_until_complete(main())
        assert 0 < ran < answered

    def test_jobs_of_the_default_executor_overtake_each_other(self, loop: SimulationLoop) -> None:
        ran: list[int] = []

        async def main() -> None:
            await asyncio.gather(*(asyncio.to_thread(ran.append, n) for n in range(20)))

        loop.run_until_complete(main())
        assert sorted(ran) == list(range(20)) != ran

    @pytest.mark.parametrize("shuffled", [False, True])
    def test_jobs_of_one_executor_keep_their_order(self, new_loop: World, shuffled: bool) -> None:
        ran: list[int] = []
        answered: list[int] = []
        loop = new_loop(shuffled=shuffled, latency=lambda chance: chance.choice([0.1, 0.1, 0.3]))

        async def main() -> None:
            with ThreadPoolExecutor(1) as executor:
                jobs = [loop.run_in_executor(executor, ran.append, n) for n in range(30)]
                for n, job in enumerate(jobs):
                    job.add_done_callback(lambda _, n=n: answered.append(n))
                await asyncio.wait(jobs)

        loop.run_until_complete(main())
        assert ran == answered == list(range(30))

    def test_the_waiter_gets_the_jobs_error(self, loop: SimulationLoop) -> None:
        with pytest.raises(ZeroDivisionError):
            loop.run_until_complete(asyncio.to_thread(divmod, 1, 0))

    def test_a_job_sees_neither_the_loop_nor_the_callers_context(self, loop: SimulationLoop) -> None:
        var = contextvars.ContextVar("var", default="unset")

        def job() -> str:
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            return var.get()

        async def main() -> str:
            var.set("the caller's")
            seen = await loop.run_in_executor(None, job)
            assert asyncio.get_running_loop() is loop
            return seen

        assert loop.run_until_complete(main()) == "unset"

    def test_a_cancelled_job_runs_or_not_as_the_seed_says(self, new_loop: World) -> None:
        def runs(seed: int) -> bool:
            ran: list[None] = []
            loop = new_loop(seed)
            loop.run_in_executor(None, ran.append, None).cancel()
            loop.run_until_complete(asyncio.sleep(10))
            return bool(ran)

        assert {runs(seed) for seed in range(20)} == {True, False}

    def test_shutting_down_waits_for_the_jobs(self, loop: SimulationLoop) -> None:
        ran: list[int] = []
        jobs = [loop.run_in_executor(None, ran.append, n) for n in range(9)]
        loop.run_until_complete(loop.shutdown_default_executor())
        assert sorted(ran) == list(range(9))
        assert len(jobs) == 9

    def test_a_callback_from_another_thread_is_refused(self, loop: SimulationLoop) -> None:
        refused: list[BaseException] = []

        def elsewhere() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except SimulationError as error:
                refused.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert "print was scheduled from another thread" in str(refused[0])
        loop.call_soon_threadsafe(loop.stop)
        loop.run_forever()


class TestFailures:
    def test_a_deadlock_names_the_tasks_and_where_they_wait(self, loop: SimulationLoop) -> None:
        async def deep(event: asyncio.Event) -> None:
            await event.wait()  # the line

        async def main() -> None:
            with loop.process("worker"):
                task = asyncio.create_task(deep(asyncio.Event()), name="the waiter")
            await asyncio.sleep(3)
            await task

        with pytest.raises(Deadlock) as raised:
            loop.run_until_complete(main())
        line = deep.__code__.co_firstlineno + 1
        assert "at 3.000000" in str(raised.value)
        assert f"the waiter in worker.1\n  {__file__}:{line} in deep\n" in str(raised.value)
        assert "locks.py" in str(raised.value)
        assert "Task-1 in world.1" in str(raised.value)

    def test_after_a_deadlock_the_runner_can_still_cancel_what_hangs(self) -> None:
        cleaned: list[str] = []

        async def main() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append("main")

        with pytest.raises(Deadlock), asyncio.Runner(loop_factory=lambda: SimulationLoop(1)) as runner:
            runner.run(main())
        assert cleaned == ["main"]

    def test_callbacks_that_never_let_time_pass_are_stopped(self, new_loop: World) -> None:
        async def spin() -> None:
            while True:
                await asyncio.sleep(0)

        with pytest.raises(RunawayError, match=r"500 callbacks without time passing at 0.0.*world.1 Task-1"):
            new_loop(max_burst=500).run_until_complete(spin())

    def test_timers_that_never_end_are_stopped(self, new_loop: World) -> None:
        async def poll() -> None:
            while True:
                await asyncio.sleep(1)

        with pytest.raises(RunawayError, match=r"1000 callbacks at .*world.1"):
            new_loop(max_steps=1000).run_until_complete(poll())

    def test_a_long_simulation_that_lets_time_pass_is_no_runaway(self, new_loop: World) -> None:
        async def poll() -> None:
            for _ in range(1000):
                await asyncio.sleep(1)

        new_loop(max_burst=10).run_until_complete(poll())

    def test_an_error_in_a_callback_reaches_the_handler_and_not_the_others(
        self, loop: SimulationLoop
    ) -> None:
        caught: list[BaseException] = []
        loop.set_exception_handler(lambda _, context: caught.append(context["exception"]))
        loop.call_soon(divmod, 1, 0)
        loop.run_until_complete(asyncio.sleep(1))
        assert isinstance(caught[0], ZeroDivisionError)

    def test_without_a_handler_errors_are_logged(
        self, loop: SimulationLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop.call_soon(divmod, 1, 0)
        loop.run_until_complete(asyncio.sleep(1))
        assert "ZeroDivisionError" in caplog.text

    def test_an_interrupt_leaves_the_loop_usable(self, loop: SimulationLoop) -> None:
        async def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(interrupted())
        assert loop.run_until_complete(asyncio.sleep(1, "still here")) == "still here"

    def test_it_refuses_to_run_inside_another_loop_and_after_its_end(self, new_loop: World) -> None:
        outer, inner = new_loop(), new_loop()
        outer.call_soon(inner.run_forever)
        seen: list[object] = []
        outer.set_exception_handler(lambda _, context: seen.append(str(context["exception"])))
        outer.run_until_complete(asyncio.sleep(1))
        assert seen == ["Cannot run the event loop while another loop is running"]
        outer.close()
        with pytest.raises(RuntimeError, match="closed"):
            outer.call_soon(print)


class TestTheRealWorldIsRefused:
    def test_no_method_is_left_to_the_abstract_loop(self) -> None:
        left = {
            name
            for name in dir(asyncio.AbstractEventLoop)
            if getattr(SimulationLoop, name) is getattr(asyncio.AbstractEventLoop, name)
            and not name.startswith("__")
        }
        assert left == set()

    def test_the_error_says_what_was_attempted(self, loop: SimulationLoop) -> None:
        attempts: list[tuple[Callable[[], Awaitable[object]], str]] = [
            (lambda: asyncio.open_connection("localhost", 80), "open a connection"),
            (lambda: asyncio.start_server(print, port=0), "serve connections"),
            (lambda: asyncio.create_subprocess_exec("true"), "start a subprocess"),
            (lambda: loop.getaddrinfo("localhost", 80), "resolve a host name"),
        ]
        for attempt, words in attempts:

            async def main(attempt: Callable[[], Awaitable[object]] = attempt) -> None:
                await attempt()

            with pytest.raises(NoRealWorldError, match=words):
                loop.run_until_complete(main())
        with pytest.raises(NotImplementedError, match="handle a signal"):
            loop.add_signal_handler(signal.SIGTERM, print)


class Victim:
    """A process with much to clean up, that says all it does."""

    def __init__(self, loop: SimulationLoop) -> None:
        self.said: list[str] = []
        self.loop = loop
        self.outside = loop.create_future()

    def start(self) -> None:
        with self.loop.process("victim"):
            self.main = self.loop.create_task(self.live())

    async def live(self) -> None:
        self.loop.call_later(2, self.said.append, "timer")
        emptied = contextvars.Context().run(
            asyncio.create_task, self.wait_outside(), context=contextvars.Context()
        )
        contextvars.Context().run(self.outside.add_done_callback, lambda _: self.said.append("callback"))
        contextvars.Context().run(self.loop.call_later, 2, self.said.append, "timer in an empty context")
        job = self.loop.run_in_executor(None, self.said.append, "job")
        try:
            async for _ in self.numbers():
                pass
        except BaseException:
            self.said.append("except")
            raise
        finally:
            self.said.append("finally")
            await asyncio.sleep(0)
            await asyncio.gather(emptied, job)
            self.said.append("awaited")

    async def wait_outside(self) -> None:
        try:
            await self.outside
        finally:
            self.said.append("outside")

    async def numbers(self) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(DAY)
        finally:
            self.said.append("generator")


class TestKill:
    @pytest.mark.parametrize("shuffled", [False, True])
    def test_nothing_of_a_killed_process_runs_again(
        self, new_loop: World, shuffled: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop = new_loop(shuffled=shuffled, latency=lambda _: 1.5)
        victim = Victim(loop)
        victim.start()
        loop.call_at(1, loop.kill, "victim")
        loop.call_at(3, victim.outside.set_result, None)
        loop.run_until_complete(asyncio.sleep(2 * DAY))
        gc.collect()
        assert victim.said == []
        assert not loop.pending_tasks()
        assert not asyncio.all_tasks(loop)
        loop.close()
        del victim
        gc.collect()
        assert caplog.text == ""

    def test_unkilled_it_does_all_of_that(self, new_loop: World) -> None:
        loop = new_loop(latency=lambda _: 1.5)
        victim = Victim(loop)
        victim.start()
        loop.call_at(3, victim.outside.set_result, None)
        loop.run_until_complete(victim.main)
        assert sorted(victim.said) == sorted(
            [
                "job",
                "timer",
                "timer in an empty context",
                "callback",
                "outside",
                "generator",
                "finally",
                "awaited",
            ]
        )

    def test_a_crash_before_any_step_stops_it_there(self, new_loop: World) -> None:
        def said_when_killed_at(step: int) -> list[str]:
            loop = new_loop(latency=lambda _: 1.5)
            victim = Victim(loop)
            victim.start()
            loop.call_at(3, victim.outside.set_result, None)
            at_death: list[list[str]] = []

            def strike() -> None:
                if loop.steps == step:
                    loop.kill("victim")
                    at_death.append(victim.said.copy())

            loop.before_step = strike
            loop.run_until_complete(asyncio.sleep(2 * DAY))
            assert not at_death or at_death[0] == victim.said
            return victim.said

        prefixes = [said_when_killed_at(step) for step in range(1, 40)]
        assert prefixes[0] == []
        assert len(prefixes[-1]) == 8
        assert len({len(said) for said in prefixes}) >= 6
        assert prefixes == sorted(prefixes, key=len)

    def test_the_dead_are_unwound_at_the_close_where_they_reach_nothing(self, new_loop: World) -> None:
        loop = new_loop()
        refused: list[bool] = []

        class Resource:
            pass

        async def stubborn(held: Resource) -> None:
            try:
                await asyncio.sleep(DAY)
            finally:
                for attempt in (
                    lambda: asyncio.create_task(asyncio.sleep(0)),
                    lambda: loop.call_soon(print),
                    lambda: loop.run_in_executor(None, print),
                ):
                    with pytest.raises(GeneratorExit):
                        attempt()
                    refused.append(True)
                while True:
                    try:
                        await asyncio.sleep(1)
                    except Exception:  # noqa: BLE001
                        continue

        resource = Resource()
        released = weakref.ref(resource)
        with loop.process("victim"):
            task = loop.create_task(stubborn(resource))
        loop.call_at(1, loop.kill, "victim")
        loop.run_until_complete(asyncio.sleep(2))
        del task, resource
        gc.collect()
        assert (refused, released() is None) == ([], False)
        loop.close()
        gc.collect()
        assert (refused, released() is None) == ([True] * 3, True)

    def test_what_waits_in_a_dropped_callback_is_not_cleaned_up_either(self, loop: SimulationLoop) -> None:
        said: list[str] = []

        def numbers() -> Iterator[int]:
            try:
                yield 1
            finally:
                said.append("generator")

        with loop.process("worker"):
            started = numbers()
            next(started)
            loop.call_at(2, next, started)
            loop.call_at(2, asyncio.ensure_future, note(said, "never awaited"))
            del started
        loop.call_at(1, loop.kill, "worker")
        loop.run_until_complete(asyncio.sleep(9))
        gc.collect()
        assert said == []

    def test_generators_of_the_dead_go_without_clean_up_whoever_drops_them(
        self, loop: SimulationLoop
    ) -> None:
        victim, held = Victim(loop), list[AsyncIterator[int]]()

        async def start() -> None:
            held.append(victim.numbers())
            await anext(held[0])

        with loop.process("victim"):
            loop.create_task(start())
        loop.call_at(1, loop.kill, "victim")
        loop.call_at(2, held.clear)
        loop.run_until_complete(asyncio.sleep(9))
        assert (held, victim.said) == ([], [])

    def test_a_coroutine_that_never_gives_up_does_not_hang_the_close(self, loop: SimulationLoop) -> None:
        future = loop.create_future()
        swallowed: list[None] = []
        stubborn = [True]

        async def immortal() -> None:
            while stubborn:
                try:
                    await future
                except BaseException:  # noqa: BLE001
                    swallowed.append(None)

        with loop.process("immortal"):
            task = loop.create_task(immortal())
        loop.run_until_complete(asyncio.sleep(1))
        loop.close()
        assert len(swallowed) == 100
        assert not task.done()
        stubborn.clear()

    def test_a_restart_is_a_new_process_that_the_old_one_cannot_touch(self, loop: SimulationLoop) -> None:
        said: list[str] = []
        for n in (1, 2):
            with loop.process("worker") as process:
                loop.create_task(note(said, f"{process} a", f"{process} b", f"{process} c", every=1))
            with loop.process("worker") as again:
                assert again is process
            loop.run_until_complete(asyncio.sleep(1.5 if n == 1 else 9))
            loop.kill("worker")
        assert said == ["worker.1 a", "worker.1 b", "worker.2 a", "worker.2 b", "worker.2 c"]

    def test_others_live_on(self, loop: SimulationLoop) -> None:
        said: list[str] = []
        for name in ("a", "b"):
            with loop.process(name):
                loop.create_task(note(said, name, name, name, every=1))
        loop.call_at(0.5, loop.kill, "a")
        loop.run_until_complete(asyncio.sleep(9))
        assert said == ["a", "b", "b", "b"]

    def test_a_process_can_crash_itself_anywhere(self, loop: SimulationLoop) -> None:
        said: list[str] = []

        async def worker() -> None:
            try:
                said.append("before")
                await loop.crash()
            finally:
                said.append("after")

        with loop.process("worker"):
            loop.create_task(worker())
        loop.run_until_complete(asyncio.sleep(9))
        assert said == ["before"]

    def test_what_a_dead_process_still_starts_is_dropped(self, loop: SimulationLoop) -> None:
        said: list[str] = []
        started: list[asyncio.Task[None]] = []

        async def worker() -> None:
            loop.kill("worker")
            loop.call_soon(said.append, "soon")
            started.append(asyncio.create_task(note(said, "task")))
            loop.run_in_executor(None, said.append, "job")

        with loop.process("worker"):
            loop.create_task(worker())
        loop.run_until_complete(asyncio.sleep(9))
        assert (said, loop.pending_tasks()) == ([], ())

    def test_a_crash_between_a_write_and_its_answer_loses_only_the_answer(self, new_loop: World) -> None:
        loop = new_loop(latency=lambda _: 1.0)
        said: list[str] = []

        async def worker() -> None:
            await asyncio.to_thread(said.append, "written")
            said.append("acknowledged")

        with loop.process("worker"):
            loop.create_task(worker())
        loop.call_at(1.5, loop.kill, "worker")
        loop.run_until_complete(asyncio.sleep(9))
        assert said == ["written"]

    def test_a_server_in_the_world_outlives_its_caller(self, loop: SimulationLoop) -> None:
        said: list[str] = []

        async def worker() -> None:
            with loop.process("world"):
                call = asyncio.create_task(note(said, "begun", "committed", every=1))
            await call
            said.append("acknowledged")

        with loop.process("worker"):
            loop.create_task(worker())
        loop.call_at(0.5, loop.kill, "worker")
        loop.run_until_complete(asyncio.sleep(9))
        assert said == ["begun", "committed"]

    def test_the_runner_ends_well_with_dead_tasks_around(self) -> None:
        async def main(loop: SimulationLoop) -> None:
            with loop.process("worker"):
                task = asyncio.create_task(asyncio.sleep(DAY))
            await asyncio.sleep(1)
            loop.kill("worker")
            assert not task.done()

        loop = SimulationLoop(1)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main(loop))
        assert loop.is_closed()

    def test_unknown_processes_and_the_world_are_not_killed(self, loop: SimulationLoop) -> None:
        with pytest.raises(SimulationError, match="no process 'nobody'; there are world"):
            loop.kill("nobody")
        with pytest.raises(SimulationError, match="world cannot be killed"):
            loop.kill("world")


class TestPause:
    def test_a_paused_process_waits_while_the_others_go_on(self, loop: SimulationLoop) -> None:
        said: list[tuple[str, float]] = []

        async def tick(name: str) -> None:
            for _ in range(4):
                await asyncio.sleep(1)
                said.append((name, loop.time()))

        for name in ("a", "b"):
            with loop.process(name):
                loop.create_task(tick(name))
        loop.call_at(1.5, loop.pause, "a", 3.5)
        loop.run_until_complete(asyncio.sleep(9))
        assert [at for name, at in said if name == "a"] == [1, 3.5, 4.5, 5.5]
        assert [at for name, at in said if name == "b"] == [1, 2, 3, 4]

    def test_after_a_pause_callbacks_run_in_the_order_they_came_due(self, loop: SimulationLoop) -> None:
        said: list[str] = []
        with loop.process("a"):
            loop.call_at(3, said.append, "due third")
            loop.call_at(2, said.append, "due second")
            loop.call_soon(said.append, "ready")
        loop.pause("a", 10)
        loop.run_until_complete(asyncio.sleep(9))
        assert said == []
        loop.run_until_complete(asyncio.sleep(2))
        assert said == ["ready", "due second", "due third"]

    def test_a_shorter_pause_does_not_end_a_longer_one(self, loop: SimulationLoop) -> None:
        """Else what was put off would come after what begins later: jobs of one thread out of their order."""
        said: list[float] = []
        with loop.process("a"):
            loop.call_at(1, lambda: said.append(loop.time()))
            loop.call_at(4, lambda: said.append(loop.time()))
        loop.pause("a", 5)
        loop.call_at(2, loop.pause, "a", 3)
        loop.run_until_complete(asyncio.sleep(9))
        assert said == [5, 5]

    def test_a_lease_expires_under_a_stalled_owner(self, loop: SimulationLoop) -> None:
        expired: list[float] = []

        async def owner() -> None:
            try:
                async with asyncio.timeout(5):
                    await asyncio.sleep(1)
            except TimeoutError:
                expired.append(loop.time())

        with loop.process("owner"):
            loop.create_task(owner())
        loop.call_at(0.5, loop.pause, "owner", 20.0)
        loop.run_until_complete(asyncio.sleep(30))
        assert expired == [20.0]

    def test_a_paused_process_can_be_killed(self, loop: SimulationLoop) -> None:
        said: list[str] = []
        with loop.process("a"):
            loop.create_task(note(said, "one", "two", every=2))
        loop.call_at(1, loop.pause, "a", 10.0)
        loop.call_at(5, loop.kill, "a")
        loop.run_until_complete(asyncio.sleep(20))
        assert said == ["one"]

    def test_a_pause_has_an_end(self, loop: SimulationLoop) -> None:
        with loop.process("a"), pytest.raises(ValueError, match="finite"):
            loop.pause("a", float("inf"))


class TestGenerators:
    def test_a_generator_is_closed_in_its_own_process_whoever_drops_it(self, loop: SimulationLoop) -> None:
        closed: list[str] = []
        held: list[AsyncIterator[int]] = []

        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                await asyncio.sleep(1)
                closed.append(str(loop.current_process()))

        async def main() -> None:
            async for _ in numbers():
                break
            held.append(numbers())
            await anext(held[0])

        with loop.process("worker"):
            loop.create_task(main())
        loop.call_at(1, held.clear)
        loop.run_until_complete(asyncio.sleep(9))
        assert closed == ["worker.1", "worker.1"]

    def test_shutdown_closes_the_living_in_the_order_they_started(self, loop: SimulationLoop) -> None:
        closed: list[int] = []
        generators: list[AsyncIterator[int]] = []

        async def numbers(n: int) -> AsyncIterator[int]:
            try:
                yield n
            finally:
                closed.append(n)

        async def main() -> None:
            for n in range(0, 18, 2):
                transient = numbers(-1)
                await anext(transient)
                generators.append(numbers(n))
                await anext(generators[n])
                await anext(transient, None)
                del transient  # the next one may live at its address
                generators.append(numbers(n + 1))
                await anext(generators[n + 1])
            await loop.shutdown_asyncgens()

        loop.run_until_complete(main())
        assert [n for n in closed if n >= 0] == list(range(18))
