"""Steps whose own writes and whose result are one transaction on the log's database.

The body gets the transaction in `current_step().transaction`; its result is enlisted in it, under the run's fence, and
a wake mark with it. So either both are there or neither: an effect of this kind happens exactly once. If the answer to
the commit is lost, the log says which (a result that is there is found when the run reads on).
"""

from __future__ import annotations

from typing import Any, Final

from headwater.app.steps import Step, StepContext
from headwater.engine.steps import StepRunner
from headwater.errors import PayloadRefused
from headwater.events.envelope import Stream
from headwater.log.log import Log
from headwater.log.side import Fence, Wake
from headwater.log.write import Write


class Committed:
    """The result is in the log."""


COMMITTED: Final = Committed()


class _RolledBack(Exception):
    """The body failed: undo what it wrote."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


async def attempt_in_transaction(
    log: Log,
    runner: StepRunner,
    step: Step[..., Any],
    call: int,
    given: Any,
    context: StepContext,
    stream: Stream,
    fence: Fence,
) -> Committed | Exception:
    """Execute the body once, and commit its result with what it wrote."""
    try:
        async with log.transaction() as transaction:
            context.transaction = transaction
            ended = await runner.attempt(step, call, given, context)
            if isinstance(ended, Exception):
                raise _RolledBack(ended)
            await transaction.append(Write(stream, [ended], expect=fence, rows=[Wake(fence.key)]))
    except _RolledBack as failed:
        return failed.error
    except PayloadRefused as refused:
        return refused
    except Exception as error:  # noqa: BLE001  a constraint of the user's tables, a conflict, a lost connection
        return error
    return COMMITTED
