"""What crosses the wire, as models: the OpenAPI description is made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from headwater.app.domain import Scope
from headwater.runs.events import ErrorInfo
from headwater.runs.machines import RunStatus

BATCH = 1000


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewRunAsked(_Asked):
    """A run to be started. Without an id it gets one; the same id with the same workflow and input is the same run."""

    workflow: str
    version: int | None = Field(None, ge=1, description="The newest version if none is given.")
    input: dict[str, Any] | None = Field(None, description="The arguments, by name.")
    arguments: list[Any] = Field(
        default_factory=list[Any], description="The arguments in order, in place of `input`."
    )
    id: str | None = None
    attributes: dict[str, str] = Field(default_factory=dict[str, str], description="What it can be found by.")


class NewRunsAsked(_Asked):
    runs: Annotated[list[NewRunAsked], Field(min_length=1, max_length=BATCH)]


class CancelAsked(_Asked):
    reason: str | None = Field(None, max_length=4000)


class PayloadSent(_Asked):
    """A payload for a hook; with `run`, only if that run holds the token."""

    payload: Any = None
    run: str | None = None


class NewTenantAsked(_Asked):
    tenant: str


class NewKeyAsked(_Asked):
    name: str
    scopes: Annotated[list[Scope], Field(min_length=1)] = ["read", "write"]
    expires_at: AwareDatetime | None = None
    tenant: str | None = Field(None, description="Another tenant than one's own; for operators only.")


class RunStarted(BaseModel):
    """`new`: this request made the run; else it was there already."""

    run: str
    workflow: str
    version: int
    new: bool


class RunsStarted(BaseModel):
    runs: list[RunStarted]


class RunShown(BaseModel):
    run: str
    tenant: str
    workflow: str
    workflow_version: int
    status: RunStatus
    created_at: datetime
    state: Any
    attributes: dict[str, str]
    error: str | None
    parent: str | None


class RunsPage(BaseModel):
    """Runs, the newest first. `next` is what to give as `before` for the page after this; null at the end."""

    runs: list[RunShown]
    next: str | None


class RunResult(BaseModel):
    """How a run ended; with status 202, that it has not."""

    run: str
    status: RunStatus
    output: Any = None
    error: ErrorInfo | None = None
    reason: str | None = None


class EventShown(BaseModel):
    position: int
    tenant: str
    stream_type: str
    stream_id: str
    version: int
    event_id: str
    type: str
    schema_version: int
    spec_version: int | None
    occurred_at: datetime
    recorded_at: datetime
    run_id: str | None
    correlation_id: str | None
    causation_id: str | None
    actor: str | None
    traceparent: str | None
    metadata: dict[str, Any]
    data: Any
    blob: str | None
    chain: str
    cursor: str
    undecodable: str | None = None


class EventsPage(BaseModel):
    """Events in order. `next` is the cursor or version to go on from; null at the end."""

    events: list[EventShown]
    next: str | None


class PayloadTaken(BaseModel):
    """Where a payload went. `new`: this request wrote it."""

    run: str
    call: int
    new: bool


class OpenHook(BaseModel):
    token: str
    run: str
    call: int


class Hooks(BaseModel):
    hooks: list[OpenHook]


class WorkerShown(BaseModel):
    worker: str
    alive: bool
    beat_at: datetime
    lease: float
    place: str
    serves: list[str]
    queues: list[str]
    runs: int


class Workers(BaseModel):
    workers: list[WorkerShown]


class WorkflowShown(BaseModel):
    name: str
    version: int
    about: str | None


class Workflows(BaseModel):
    workflows: list[WorkflowShown]


class TenantShown(BaseModel):
    tenant: str
    created_at: datetime | None


class Tenants(BaseModel):
    tenants: list[TenantShown]


class KeyShown(BaseModel):
    key: str
    name: str
    tenant: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class Keys(BaseModel):
    keys: list[KeyShown]


class KeyMade(BaseModel):
    """A new key. `text` is what to show as `Authorization: Bearer`; it is not kept, and not shown again."""

    key: str
    text: str


class Done(BaseModel):
    """Whether this request changed anything."""

    changed: bool


class Asked(BaseModel):
    """How many keys a worker was asked to look at; for a rebuild of all, 1."""

    asked: int


class Building(BaseModel):
    version: int
    position: int


class ProjectionShown(BaseModel):
    name: str
    version: int
    position: int
    lag: int
    paused: bool
    parked: int
    asked: int
    status: str
    building: Building | None
    keys: list[Any] | None = None


class ProjectionsShown(BaseModel):
    projections: list[ProjectionShown]


class StateShown(BaseModel):
    key: str
    position: int
    parked: int | None
    state: Any


class PipelineShown(BaseModel):
    name: str
    aggregate_type: str
    events: list[str]
    projections: list[str]
    commands: list[str]
    reactors: list[str]


class PipelinesShown(BaseModel):
    pipelines: list[PipelineShown]


class AggregateShown(BaseModel):
    aggregate: str
    version: int
    state: Any


class ProblemShown(BaseModel):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class Progress(BaseModel):
    status: Literal["ok", "down"]
    detail: str
