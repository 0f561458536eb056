"""Steps executed in this process: attempts, pauses between them, time limits, threads.

An attempt that fails is tried again after a pause drawn by chance below a bound that doubles (full jitter, so that many
runs that fail together do not come back together). Failures count, crashes do not: an attempt that a dead worker left
behind is followed by another, but for steps that may run at most once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from random import Random
from time import perf_counter
from typing import Any

from headwater.app.current import STEP
from headwater.app.steps import Step, StepContext
from headwater.engine.counting import Counts
from headwater.errors import FatalError, PayloadRefused, RetryableError, StepError, StepInterrupted
from headwater.events.clock import from_us
from headwater.runs import events as run
from headwater.telemetry import tracing
from headwater.workflows.failures import describe

StepEnd = run.StepCompleted | run.StepFailed


class StepRunner:
    """Executes attempts of steps."""

    def __init__(
        self,
        threads: Callable[[], Executor],
        random: Random,
        now_us: Callable[[], int],
        counts: Counts | None = None,
    ) -> None:
        self._threads, self._random, self._now_us = threads, random, now_us
        self._counts = counts or Counts()

    async def attempt(
        self, step: Step[..., Any], call: int, plain: Any, context: StepContext
    ) -> run.StepCompleted | Exception:
        """Execute the body once. What it gives or raises is a value here; only cancellation goes through."""
        span = (
            tracing.begin(
                f"step {step.name}",
                context.traceparent,
                current=True,
                headwater_run=context.run,
                headwater_tenant=context.tenant,
                headwater_attempt=context.attempt,
            )
            if tracing.is_on()
            else None
        )
        began = perf_counter()
        how, why = "cut off", "cut off"
        ended: run.StepCompleted | Exception
        try:
            args, kwargs = step.signature.load(plain)
            if step.options.timeout is None and step.options.heartbeat is None:
                result = await self._body(step, args, kwargs, context)
            else:
                async with _limits(step, context):
                    result = await self._body(step, args, kwargs, context)
            output = step.signature.result.dump(result)
            ended = run.StepCompleted(call=call, attempt=context.attempt, output=output)
            how = "completed"
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            ended = StepError("The step was cancelled from within.", type="CancelledError")
            how, why = "failed", type(ended).__name__
        except PayloadRefused as error:
            ended = FatalError(str(error))
            how, why = "failed", type(ended).__name__
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  even SystemExit ends the step, not the worker
            why = type(error).__name__
            ended = error if isinstance(error, Exception) else StepError(repr(error), type=why)
            how = "failed"
        finally:
            self._counts.seconds.observe(perf_counter() - began, step.name, how)
            if span is not None:
                span.end(None if how == "completed" else why)
        return ended

    async def _body(
        self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: StepContext
    ) -> Any:
        token = STEP.set(context)
        try:
            if step.is_async:
                return await step.function(*args, **kwargs)
            work = partial(copy_context().run, step.function, *args, **kwargs)
            return await asyncio.get_running_loop().run_in_executor(self._threads(), work)
        finally:
            STEP.reset(token)

    def judge(
        self, step: Step[..., Any], call: int, attempt: int, failures: int, error: Exception
    ) -> run.StepRetrying | run.StepFailed:
        """What becomes of a failed attempt, `failures` having failed before."""
        if isinstance(error, FatalError | StepInterrupted) or failures >= step.retries:
            return run.StepFailed(call=call, attempt=attempt, error=describe(error))
        bound = min(step.options.backoff * 2**failures, step.options.max_backoff)
        pause = self._random.uniform(0, bound)
        if isinstance(error, RetryableError) and error.after is not None:
            pause = max(error.after, 0.0)
        return self.put_off(call, attempt, error, pause)

    def put_off(self, call: int, attempt: int, error: Exception, seconds: float) -> run.StepRetrying:
        """There will be another attempt after a while."""
        after = from_us(self._now_us()) + timedelta(seconds=seconds)
        return run.StepRetrying(call=call, attempt=attempt, error=describe(error), retry_after=after)


def _limits(step: Step[..., Any], context: StepContext) -> AbstractAsyncContextManager[Any]:
    timeout, heartbeat = step.options.timeout, step.options.heartbeat
    if heartbeat is None:
        return asyncio.timeout(timeout)
    return _beating(timeout, heartbeat, context)


@asynccontextmanager
async def _beating(timeout: float | None, heartbeat: float, context: StepContext) -> AsyncGenerator[None]:
    """A time limit for the attempt, and one from each heartbeat to the next."""
    loop = asyncio.get_running_loop()
    silence = asyncio.timeout(heartbeat)
    alive = True

    def reset() -> None:
        if alive and not silence.expired():
            silence.reschedule(loop.time() + heartbeat)

    def beat() -> None:
        loop.call_soon_threadsafe(reset)

    context.beat = beat
    async with asyncio.timeout(timeout):
        try:
            async with silence:
                yield
        except TimeoutError:
            if silence.expired():
                raise TimeoutError(f"no heartbeat for {heartbeat} s") from None
            raise
        finally:
            alive = False


def interrupted(attempt: int) -> StepInterrupted:
    return StepInterrupted(
        f"The worker ended during attempt {attempt} of a step that may run at most once: whether its effect happened "
        "is not known. Find out, and go on accordingly."
    )
