"""A domain in one module: evaluations, scores that people and programs attach to runs or traces.

Its events, its fold, its commands and its pipeline; storing, projecting, rebuilding and retrying are the runtime's.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, assert_never

from pydantic import BaseModel

from headwater import Event
from headwater.app.domain import Domain
from headwater.events.envelope import Recorded
from headwater.pipelines import Command, handles, register_pipeline
from headwater.projections.open import store_for
from headwater.projections.projection import Projection


class ScoreGiven(Event):
    type: Literal["score_given"] = "score_given"
    name: str
    value: float
    by: str


class ScoreWithdrawn(Event):
    type: Literal["score_withdrawn"] = "score_withdrawn"
    name: str


class Scores(BaseModel):
    """What one run or trace has been given."""

    values: Mapping[str, float] = {}


class GiveScore(Command):
    name: str
    value: float
    by: str


class WithdrawScore(Command):
    name: str


def fold(scores: Scores, event: ScoreGiven | ScoreWithdrawn) -> Scores:
    match event:
        case ScoreGiven():
            return Scores(values={**scores.values, event.name: event.value})
        case ScoreWithdrawn():
            return Scores(values={name: v for name, v in scores.values.items() if name != event.name})
        case _:
            assert_never(event)


def give(scores: Scores, command: GiveScore) -> Iterable[ScoreGiven]:
    if scores.values.get(command.name) != command.value:
        yield ScoreGiven(name=command.name, value=command.value, by=command.by)


def withdraw(scores: Scores, command: WithdrawScore) -> Iterable[ScoreWithdrawn]:
    if command.name in scores.values:
        yield ScoreWithdrawn(name=command.name)


class Given(BaseModel):
    count: int = 0
    total: float = 0.0


def score_name(recorded: Recorded) -> str:
    return str(recorded.data["name"])


by_name = Projection(
    "scores-by-name",
    state=Given,
    initial=Given(),
    fold=lambda given, event: Given(count=given.count + 1, total=given.total + event.value),
    events=(ScoreGiven,),
    key=score_name,
)

scores = (
    register_pipeline((ScoreGiven, ScoreWithdrawn), Scores)
    .with_name("scores")
    .with_aggregate_type("evaluation")
    .with_projection_store(store_for)
    .with_event_handler(fold)
    .with_projections(by_name)
    .with_commands(handles(GiveScore, give), handles(WithdrawScore, withdraw))
    .build()
)

evaluations = Domain(name="evaluations", pipelines=[scores])
