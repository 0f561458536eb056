"""The one tree of errors. A message says what happened, to what, and what to do; facts are attributes.

The file is long because it is one tree, and half of it is what the messages say.

HeadwaterError
├── Refused                 bad input, turned away at the door; nothing was written
│   ├── InvalidName         a name or id that is not an identifier
│   ├── PayloadRefused      NaN, naive datetimes, too large, too deep, not JSON
│   ├── EventTypeError      an event model or upcaster that is declared wrongly
│   ├── CursorRefused       a cursor of another log, or from before a restore
│   ├── SettingRefused      a variable of the environment that makes no sense
│   ├── SettingUnknown      a setting that there is not
│   ├── DeclarationRefused  a workflow or step that is declared wrongly
│   ├── ArgumentsRefused    arguments that a workflow does not take
│   ├── WorkflowUnknown     a workflow that the app at hand does not declare
│   ├── PipelineUnknown     a pipeline that the app at hand does not declare
│   ├── CommandUnknown      a command that the pipeline does not handle
│   ├── AccessRefused       a request without a good key, or for more than its key allows
│   ├── NotInWorkflow       something that the code of a workflow cannot do; a step can
│   ├── NotSupported        this backend or connection cannot do that
│   └── RunNotSupportedError  the run is written in another protocol than this code's
├── Conflict                the log is not as the caller expected; nothing of the call was written
│   ├── WrongVersion        the stream is at another version
│   ├── EventIdReused       an id is known with another stream or content
│   ├── MixedIds            some ids of the call are known and some are new
│   ├── KeyTaken            a unique key is held already
│   ├── KeyNotHeld          a key is not held by the holder that was named
│   ├── FenceLost           the fence was raised by somebody else
│   ├── RowGone             a due or ready row is not there (any more)
│   ├── RunNotFound         there is no such run
│   ├── RunFinished         the run has ended, and takes nothing any more
│   ├── RunIdReused         the id stands for a run of another workflow or input
│   ├── RunHeldError        the run is held, and goes on only when it is resumed
│   ├── RunNotHeld          only a held run can be resumed
│   ├── CheckpointMoved     another folds the projection, or was asked to look again
│   ├── Parked              a projection's key is parked, so it does not come further
│   ├── ProjectionUnknown   there are no states of such a projection
│   ├── TenantUnknown       a tenant that was not created
│   ├── KeyUnknown          an API key that was not made, or is another tenant's
│   ├── KeyShownOnce        an API key that an earlier try of the request has made
│   ├── IdempotencyKeyReused  a key of an earlier request, for another one
│   ├── CommandFailed       the handler of a command that was dispatched has refused it
│   ├── HookNotFound        no hook is open under the token
│   └── HookTooEarly        the run is there, but has not made the hook yet
├── Undecodable             stored bytes that this code cannot read
│   ├── UnknownEventType    no model is registered for the type
│   ├── NewerSchema         written by newer code than this
│   ├── IllegalEvent        an event that the state machines forbid: its writer has a defect
│   ├── StateUnreadable     a projection's stored state does not fit its type
│   └── PayloadMissing      the read left the payload out, or it is lost
├── ChainBroken             verification found an altered, removed or swapped event
├── NonDeterminismError     the code at hand asks for something else than the run's history holds
├── StepFailed              raised by steps, or to a workflow in place of what a step raised
│   ├── StepError           a step's error whose own class cannot be raised here
│   ├── StepInterrupted     the worker ended during a step that may run at most once
│   ├── FatalError          raised by a step that must not be tried again
│   └── RetryableError      raised by a step that is to be tried again, later
├── RunError                a run ended without a result, as `result()` says it
│   ├── RunFailedError      its error's own class cannot be raised here
│   └── RunCancelledError   it was cancelled
├── HookConflictError       another run holds the token of a hook
└── Trouble                 the storage has a problem
    ├── LogUnavailable      cannot be reached; nothing was written
    ├── OutcomeUnknown      the connection was lost in mid-commit: append again with the same ids
    ├── StorageFull         no space left
    ├── StorageReadOnly     the file or the database is read-only
    ├── StorageRefused      a permanent error of the database
    ├── SchemaOutdated      the database's schema is older or newer than this code
    └── LogClosed           the log was closed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class HeadwaterError(Exception):
    """Headwater could not do what was asked."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").split("\n\n")[0])

    def __init_subclass__(cls) -> None:
        """Give every error the snake_case code by which the CLI and HTTP name it."""
        cls.code = "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")


class Refused(HeadwaterError):
    """The request was refused; nothing was written."""


class InvalidName(Refused):
    """A name is not an identifier."""

    def __init__(self, what: str, name: object, rule: str) -> None:
        super().__init__(f"{what} {_short(name)} is not valid: {rule}.")
        self.what, self.name = what, name


class PayloadRefused(Refused):
    """A payload cannot be stored as it is."""


class EventTypeError(Refused):
    """An event model is not declared as the log needs it."""


class CursorRefused(Refused):
    """A cursor does not belong to this log."""


class SettingRefused(Refused):
    """A setting makes no sense."""

    def __init__(self, variable: str, value: str, wanted: str) -> None:
        super().__init__(f"{variable} is {_short(value)}. Set it to {wanted}, or unset it.")
        self.variable, self.value, self.wanted = variable, value, wanted


class SettingUnknown(Refused):
    """There is no such setting."""

    def __init__(self, name: str, source: str, near: str | None) -> None:
        fix = f"Did you mean {near}?" if near else "`headwater config show` lists those there are."
        super().__init__(f"{_short(name)} in {source} is no setting. {fix}")
        self.name, self.source, self.near = name, source, near


class DeclarationRefused(Refused):
    """A workflow or a step is not declared as it must be."""


class ArgumentsRefused(Refused):
    """Arguments do not fit a workflow."""

    def __init__(self, workflow: str, why: str) -> None:
        super().__init__(f"Workflow {workflow!r} cannot be started with these arguments: {why}.")
        self.workflow = workflow


class WorkflowUnknown(Refused):
    """An app has no such workflow."""

    def __init__(self, app: str, workflow: str, there: Sequence[str]) -> None:
        has = f"it has: {', '.join(there)}" if there else "it declares none"
        super().__init__(f"App {app!r} has no workflow {_short(workflow)}; {has}.")
        self.app, self.workflow = app, workflow


class PipelineUnknown(Refused):
    """An app has no such pipeline."""

    def __init__(self, app: str, pipeline: str, there: Sequence[str]) -> None:
        has = f"it has: {', '.join(there)}" if there else "it declares none"
        super().__init__(f"App {app!r} has no pipeline {_short(pipeline)}; {has}.")
        self.app, self.pipeline = app, pipeline


class CommandUnknown(Refused):
    """A pipeline does not handle such a command."""

    def __init__(self, pipeline: str, command: str, there: Sequence[str]) -> None:
        has = f"it handles: {', '.join(there)}" if there else "it handles none"
        super().__init__(f"Pipeline {pipeline!r} does not handle {_short(command)}; {has}.")
        self.pipeline, self.command = pipeline, command


class AccessRefused(Refused):
    """A request came without a good key, or for more than its key allows. `status` is HTTP's: 401, 403, 421 or 429."""

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class NotInWorkflow(Refused):
    """The code of a workflow did what it would not do the same again on a replay."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}: a workflow is replayed, so it may not. {fix}")
        self.what, self.fix = what, fix


class NotSupported(Refused):
    """This backend cannot do that."""


class RunNotSupportedError(Refused):
    """A run is written in another protocol than this code's."""

    def __init__(self, run: str, spec_version: int, supported: int, what: str = "read") -> None:
        kind, fix = "newer", "Deploy newer code."
        if spec_version < supported:
            kind, fix = "legacy", "It can be read and cancelled, and takes payloads; start a new one."
        super().__init__(
            f"Run {run!r} cannot be {what}: it is a {kind} run, of spec version {spec_version}, and this code's is "
            f"{supported}. {fix}"
        )
        self.run, self.spec_version, self.supported, self.what = run, spec_version, supported, what


class Conflict(HeadwaterError):
    """The log is not as expected; nothing of the call was written."""


class WrongVersion(Conflict):
    """A stream is at another version than expected."""

    def __init__(self, stream: object, expected: int, actual: int) -> None:
        wanted = f"expected at version {expected}" if expected else "expected not to exist"
        super().__init__(
            f"Stream {stream} was {wanted}, but is at version {actual}. Read it again and decide anew."
        )
        self.stream, self.expected, self.actual = stream, expected, actual


class EventIdReused(Conflict):
    """An event id is in the log already, with another stream or content."""

    def __init__(self, event_id: object, position: int) -> None:
        super().__init__(
            f"Event id {event_id} was used before, at position {position}, for another stream or content. "
            "Make a new id for a new fact."
        )
        self.event_id, self.position = event_id, position


class MixedIds(Conflict):
    """Some event ids of a call are known and some are new."""

    def __init__(self, known: int, new: int) -> None:
        super().__init__(
            f"{known} event(s) of this call are in the log already and {new} are not. "
            'If that is meant, write with known="skip".'
        )
        self.known, self.new = known, new


class KeyTaken(Conflict):
    """A unique key is held already."""

    def __init__(self, key: str, holder: str) -> None:
        super().__init__(f"Key {key!r} is held by {holder!r}.")
        self.key, self.holder = key, holder


class KeyNotHeld(Conflict):
    """A key is not held by the holder that was named."""

    def __init__(self, key: str, expected: str, holder: str | None) -> None:
        now = f"held by {holder!r}" if holder is not None else "held by nobody"
        super().__init__(f"Key {key!r} was expected to be held by {expected!r}, but is {now}.")
        self.key, self.expected, self.holder = key, expected, holder


class FenceLost(Conflict):
    """A fence was raised by somebody else."""

    def __init__(self, key: str, expected: int | None, actual: int | None) -> None:
        wanted = f"at epoch {expected}" if expected is not None else "to be there"
        now = f"at epoch {actual}: somebody else owns it. Let go" if actual is not None else "gone"
        super().__init__(f"Fence {key!r} was expected {wanted}, but is {now}.")
        self.key, self.expected, self.actual = key, expected, actual


class RowGone(Conflict):
    """A due or ready row is not there."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"There is no {kind} row {key!r} (any more).")
        self.kind, self.key = kind, key


class RunNotFound(Conflict):
    """There is no such run."""

    def __init__(self, run: str, tenant: str) -> None:
        super().__init__(f"There is no run {run!r} of tenant {tenant!r}. Check the id and the tenant.")
        self.run, self.tenant = run, tenant


class RunFinished(Conflict):
    """A run has ended, and takes nothing any more."""

    def __init__(self, run: str, status: str) -> None:
        super().__init__(f"Run {run!r} is {status}, which is final. Start a new run under another id.")
        self.run, self.status = run, status


class RunIdReused(Conflict):
    """A run id stands for a run of another workflow or input."""

    def __init__(self, run: str, workflow: str, asked: str) -> None:
        other = f"workflow {workflow!r}" if workflow != asked else "another input"
        super().__init__(
            f"Run {run!r} was started before, with {other}; this start of {asked!r} changed nothing. "
            "Use another id for another run."
        )
        self.run, self.workflow, self.asked = run, workflow, asked


class RunHeldError(Conflict):
    """A run is held, and goes on only when it is resumed."""

    def __init__(self, run: str, reason: str, message: str) -> None:
        super().__init__(f"Run {run!r} is held ({reason}): {message} `headwater run resume` releases it.")
        self.run, self.reason = run, reason


class RunNotHeld(Conflict):
    """Only a held run can be resumed."""

    def __init__(self, run: str, status: str) -> None:
        super().__init__(f"Run {run!r} is {status}, not held: there is nothing to resume.")
        self.run, self.status = run, status


class CheckpointMoved(Conflict):
    """A projection's checkpoint is not where it was read."""

    def __init__(self, projection: str) -> None:
        super().__init__(
            f"The checkpoint of projection {projection!r} has moved: another worker folds it, or it was asked to look "
            "again. Nothing was written; read it anew."
        )
        self.projection = projection


class Parked(Conflict):
    """A projection has parked a key."""

    def __init__(self, projection: str, tenant: str, key: str, position: int, error: str) -> None:
        super().__init__(
            f"Projection {projection!r} has parked key {_short(key)} of tenant {_short(tenant)} at position "
            f"{position}: {error}. Mend the fold, then run `headwater projection redrive {projection}`."
        )
        self.projection, self.tenant, self.key = projection, tenant, key
        self.position, self.error = position, error


class ProjectionUnknown(Conflict):
    """There are no states of such a projection."""

    def __init__(self, projection: str) -> None:
        super().__init__(
            f"There are no states of a projection {_short(projection)}. Check the name; a worker must have folded it."
        )
        self.projection = projection


class TenantUnknown(Conflict):
    """There is no such tenant."""

    def __init__(self, tenant: str) -> None:
        super().__init__(
            f"There is no tenant {_short(tenant)}. Create it first: `headwater tenant create NAME`."
        )
        self.tenant = tenant


class KeyUnknown(Conflict):
    """There is no such API key."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"There is no API key with the id {_short(key)}. `headwater key list` shows those there are."
        )
        self.key = key


class KeyShownOnce(Conflict):
    """An API key was made by an earlier try."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"API key {_short(key)} was made by an earlier try of this request, and its text is shown only once. "
            "Revoke it, and make another under another idempotency key."
        )
        self.key = key


class IdempotencyKeyReused(Conflict):
    """An idempotency key stands for another request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency key {_short(key)} was used before, for another request; this one changed nothing. "
            "Use a new key."
        )
        self.key = key


class CommandFailed(Conflict):
    """The handler of a command that was dispatched has refused it."""

    def __init__(self, pipeline: str, key: str, error: str) -> None:
        super().__init__(
            f"The command with key {_short(key)} of pipeline {pipeline!r} was refused by its handler: {error}. "
            "Send it again under another key if it can go well now."
        )
        self.pipeline, self.key, self.error = pipeline, key, error


class HookNotFound(Conflict):
    """No hook is open under a token."""

    def __init__(self, token: str, run: str | None = None) -> None:
        where = f" in run {run!r}" if run is not None else ""
        super().__init__(
            f"No hook is open under token {token!r}{where}. Check the token; name the run to learn whether it is early."
        )
        self.token, self.run = token, run


class HookTooEarly(Conflict):
    """A run has not made the hook yet."""

    def __init__(self, token: str, run: str) -> None:
        super().__init__(
            f"Run {run!r} has not made a hook with token {token!r} yet; nothing was sent. Send it again later."
        )
        self.token, self.run = token, run


class Undecodable(HeadwaterError):
    """Stored bytes cannot be read by this code."""


class UnknownEventType(Undecodable):
    """No model is registered for an event type."""

    def __init__(self, type: str) -> None:
        super().__init__(
            f"No model is registered for event type {type!r}. Register it, or read the event raw."
        )
        self.type = type


class NewerSchema(Undecodable):
    """An event was written by newer code than this."""

    def __init__(self, type: str, stored: int, known: int) -> None:
        super().__init__(
            f"Event type {type!r} is stored in schema version {stored}, but this code knows {known}. Deploy newer code."
        )
        self.type, self.stored, self.known = type, stored, known


class IllegalEvent(Undecodable):
    """An event that the state machines of a run forbid: its writer has a defect."""

    def __init__(self, run: str, version: int, type: str, what: str, status: str | None) -> None:
        now = f"is {status}" if status is not None else "is not there"
        super().__init__(
            f"Event {version} of run {run!r} is a {type}, which is illegal: {what} {now}. Its writer has a defect."
        )
        self.run, self.version, self.type, self.what, self.status = run, version, type, what, status


class StateUnreadable(Undecodable):
    """A projection's stored state does not fit its type."""

    def __init__(self, projection: str, why: str) -> None:
        super().__init__(
            f"A stored state of projection {projection!r} does not fit: {why}. Raise the projection's version, so that "
            "its states are built anew."
        )
        self.projection = projection


class PayloadMissing(Undecodable):
    """An event's payload is not there: the read left it out, or it is lost."""


class ChainBroken(HeadwaterError):
    """The log's chain does not verify."""

    def __init__(self, position: int, why: str, *, shard: int = 0) -> None:
        super().__init__(f"The chain breaks at position {position} of shard {shard}: {why}.")
        self.position, self.shard, self.why = position, shard, why


class NonDeterminismError(HeadwaterError):
    """The code at hand asks for something else than the run's history holds."""

    def __init__(self, call: int, recorded: str, attempted: str, where: str) -> None:
        super().__init__(
            f"Call {call} is recorded as {recorded}, but the code at hand attempted {attempted} ({where}). "
            "The run is held: deploy the code that it began with and resume it, or cancel it."
        )
        self.call, self.recorded, self.attempted, self.where = call, recorded, attempted, where


class StepFailed(HeadwaterError):
    """A step failed."""


class StepError(StepFailed):
    """A step failed with an error whose class cannot be raised here. `type` names it."""

    def __init__(self, message: str, *, type: str = "", stack: str = "", data: object = None) -> None:
        super().__init__(message)
        self.type, self.stack, self.data = type, stack, data


class StepInterrupted(StepFailed):
    """The worker ended during a step that may run at most once: whether its effect happened is not known."""


class FatalError(StepFailed):
    """A step failed, and must not be tried again."""


class RetryableError(StepFailed):
    """A step failed, and is to be tried again, `after` so many seconds where that is known."""

    def __init__(self, message: str | None = None, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class RunError(HeadwaterError):
    """A run ended without a result."""

    def __init__(self, run: str, message: str, *, type: str = "", stack: str = "") -> None:
        super().__init__(message)
        self.run, self.type, self.stack = run, type, stack


class RunFailedError(RunError):
    """A run failed with an error whose class cannot be raised here. `type` names it."""


class RunCancelledError(RunError):
    """A run was cancelled."""


class HookConflictError(HeadwaterError):
    """Another run holds the token of a hook."""

    def __init__(self, token: str, holder: str) -> None:
        super().__init__(
            f"Token {token!r} is held by a hook of run {holder!r}. Use another token, or wait until it ends."
        )
        self.token, self.holder = token, holder


class RunEvicted(BaseException):
    """The run was let go by this process; its clean-up code can do nothing here. It goes on elsewhere."""


class Trouble(HeadwaterError):
    """The storage has a problem."""


class LogUnavailable(Trouble):
    """The log cannot be reached; nothing was written."""


class OutcomeUnknown(Trouble):
    """It is not known whether the call was written. Append it again with the same ids: it is written once."""

    def __init__(self, message: str | None = None, event_ids: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.event_ids = tuple(event_ids)


class StorageFull(Trouble):
    """There is no space left on the log's disk; nothing was written. Free some, and append again."""


class StorageReadOnly(Trouble):
    """The log's file or database is read-only; nothing was written."""


class StorageRefused(Trouble):
    """The database refused the call for good; nothing was written."""


class SchemaOutdated(Trouble):
    """The database's schema does not fit this code. Run `headwater migrate`."""


class LogClosed(Trouble):
    """The log was closed."""


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
