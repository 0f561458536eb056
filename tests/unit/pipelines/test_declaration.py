"""Both forms make the same pipeline, and a part that is left out is refused: by type checkers, and at import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from headwater import Event, Headwater
from headwater.errors import DeclarationRefused, HeadwaterError
from headwater.pipelines import Pipeline, register_pipeline
from headwater.projections.open import store_for
from tests.integration.pipelines.accounts import Balance, Drawn, Paid, accounts, fold, total

ROOT = Path(__file__).resolve().parents[3]


def test_both_forms_make_the_same_pipeline() -> None:
    app = Headwater("bank")
    built = (
        app.register_pipeline((Paid, Drawn), Balance)
        .with_name("accounts")
        .with_aggregate_type("account")
        .with_projection_store(store_for)
        .with_event_handler(fold)
        .build()
    )
    declared = Headwater("bank").pipeline(
        name="accounts",
        aggregate_type="account",
        events=(Paid, Drawn),
        state=Balance,
        initial=Balance(),
        fold=fold,
    )
    for pipeline in (built, declared):
        assert (pipeline.name, pipeline.aggregate_type) == ("accounts", "account")
        assert pipeline.events == (Paid, Drawn)
        assert pipeline.folded([Paid(cents=5), Drawn(cents=2)]) == Balance(cents=3)
        assert pipeline.projection.types == ("account_paid", "account_drawn")
    assert app.pipelines == {"accounts": built}
    assert list(app.projections) == ["accounts"]
    assert app.events == [Paid, Drawn]


def test_a_base_class_stands_for_the_events_that_are_derived_from_it() -> None:
    class Score(Event):
        run: str

    class Given(Score):
        type: Literal["score_given"] = "score_given"

    class Withdrawn(Score):
        type: Literal["score_withdrawn"] = "score_withdrawn"

    stage = register_pipeline(Score, Balance).with_name("scores").with_aggregate_type("score")
    built = (
        stage.with_projection_store(store_for)
        .with_stream_handler(lambda events: Balance(cents=len(events)))
        .build()
    )
    assert built.events == (Given, Withdrawn)


STAGES: list[tuple[Callable[[], Any], str]] = [
    (lambda: register_pipeline(Paid, Balance).build(), "with_name"),  # type: ignore[attr-defined]
    (lambda: register_pipeline(Paid, Balance).with_name("a").build(), "with_aggregate_type"),  # type: ignore[attr-defined]
    (
        lambda: (
            register_pipeline(Paid, Balance).with_name("a").with_aggregate_type("b").with_event_handler(fold)
        ),  # type: ignore[attr-defined]
        "with_projection_store",
    ),
]


@pytest.mark.parametrize(("made", "missing"), STAGES, ids=[missing for _, missing in STAGES])
def test_a_part_that_is_left_out_is_named(made: Callable[[], Any], missing: str) -> None:
    with pytest.raises(DeclarationRefused, match=missing):
        made()


class NeedsMore(BaseModel):
    a: int


def made(**changes: Any) -> Pipeline[Any, Any]:
    right: dict[str, Any] = {
        "name": "a",
        "aggregate_type": "b",
        "events": (Paid,),
        "initial": Balance(),
        "fold": fold,
    }
    return Pipeline(state=Balance, **{**right, **changes})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "a b"}, "not valid"),
        ({"events": ()}, "no events"),
        ({"fold": None}, "needs a fold"),
        ({"from_stream": total}, "one of them"),
        ({"events": (Paid, Paid)}, "account_paid twice"),
    ],
)
def test_what_is_declared_wrongly_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(HeadwaterError, match=why):
        made(**changes)


def test_a_state_that_needs_arguments_and_a_name_that_is_taken_are_refused() -> None:
    with pytest.raises(DeclarationRefused, match="initial"):
        register_pipeline(Paid, NeedsMore)
    app = Headwater("x")
    app.add_pipeline(accounts())
    with pytest.raises(DeclarationRefused, match="declared already"):
        app.add_pipeline(accounts())


def test_a_class_derived_without_a_type_of_its_own_is_no_other_event() -> None:
    class Bonus(Paid):
        """Stored as what it is derived from."""

    assert Bonus.__subclasses__() == []
    pipeline = register_pipeline((Paid, Drawn), Balance).with_name("a").with_aggregate_type("account")
    built = pipeline.with_projection_store(store_for).with_event_handler(fold).build()
    assert built.events == (Paid, Drawn)
