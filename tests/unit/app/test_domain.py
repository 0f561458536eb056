"""Including domains: what is taken in, and what is refused with nothing taken in."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Literal

import pytest

from headwater import Event, Headwater
from headwater.app import Domain, plugged
from headwater.app.domain import Part
from headwater.errors import DeclarationRefused, InvalidName
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.worker import start


class Rated(Event):
    type: Literal["rated"] = "rated"


class RatedElsewhere(Event):
    type: Literal["rated"] = "rated"


class Rejected(Event):
    type: Literal["rejected"] = "rejected"


@dataclass
class Ratings:
    name: str = "ratings"
    aggregate_type: str = "rating"
    events: Sequence[type[Event]] = (Rated,)
    projections: Sequence[Any] = ()
    log_of: Callable[[], Log] | None = None

    def parts(self, log: Log) -> Sequence[Part]:
        return ()


RATINGS = Domain(name="ratings", events=[Rated, Rejected], pipelines=[Ratings()])


def test_an_app_takes_in_the_events_and_pipelines_of_a_domain_once() -> None:
    app = Headwater("shop")
    app.event(Rated)
    app.include(RATINGS)
    app.include(RATINGS)
    assert app.events == [Rated, Rejected]
    assert list(app.pipelines) == ["ratings"]
    assert list(app.domains) == ["ratings"]


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        (Domain(name="ratings"), "Domain 'ratings' is included already"),
        (Domain(name="b", events=[RatedElsewhere]), "declares event type 'rated' by .*RatedElsewhere"),
        (
            Domain(name="b", pipelines=[Ratings(aggregate_type="x", events=())]),
            "pipeline 'ratings', which is",
        ),
        (Domain(name="b", pipelines=[Ratings(name="b", events=())]), "aggregate type 'rating', which is"),
        (
            Domain(name="b", pipelines=[Ratings("b", "b", ()), Ratings("b", "c", ())]),
            "declares pipeline 'b', which is declared already",
        ),
    ],
)
def test_what_is_taken_already_is_refused_and_nothing_of_the_domain_is_kept(
    domain: Domain, says: str
) -> None:
    app = Headwater("shop")
    app.include(RATINGS)
    with pytest.raises(DeclarationRefused, match=says):
        app.include(domain)
    assert (app.events, list(app.pipelines), list(app.domains)) == (
        [Rated, Rejected],
        ["ratings"],
        ["ratings"],
    )


@dataclass
class Mean:
    name: str = "mean"
    events: tuple[type[Event], ...] = (Rated,)
    inline: bool = False


def test_a_projection_that_is_declared_already_keeps_all_of_its_domain_out() -> None:
    app = Headwater("shop")
    app.project(Mean())
    twice = Ratings(name="twice", aggregate_type="twice", events=(), projections=(Mean("a"), Mean("a")))
    for pipeline in (Ratings(projections=(Mean(),)), twice):
        with pytest.raises(DeclarationRefused, match="declares projection"):
            app.include(Domain(name="ratings", pipelines=[pipeline]))
        with pytest.raises(DeclarationRefused, match="declares projection"):
            app.add_pipeline(pipeline)
    assert (app.events, app.pipelines, app.domains, list(app.projections)) == ([Rated], {}, {}, ["mean"])


def test_a_domain_needs_a_name_that_fits_a_url() -> None:
    with pytest.raises(InvalidName):
        Domain(name="my ratings")


def test_the_parts_of_a_domain_begin_and_stop_with_the_worker() -> None:
    import asyncio

    went: list[str] = []

    class Watching:
        def __init__(self) -> None:
            self.progress = {"watching": 1.0}
            self.failing: dict[str, str] = {}

        async def start(self) -> None:
            went.append("start")

        async def stop(self) -> None:
            went.append("stop")

    async def main() -> None:
        app = Headwater("shop")
        app.include(Domain(name="watch", parts=lambda _app, _log: [Watching()]))
        async with Log(MemoryBackend()) as log:
            worker = await start(app, log)
            assert worker.progress["watching"] == 1.0
            await worker.stop()

    asyncio.run(main())
    assert went == ["start", "stop"]


def test_domains_of_installed_packages_make_an_app(monkeypatch: pytest.MonkeyPatch) -> None:
    here = EntryPoint("ratings", f"{__name__}:RATINGS", plugged.GROUP)

    def found(group: str) -> list[EntryPoint]:
        return [here] if group == plugged.GROUP else []

    monkeypatch.setattr(plugged, "entry_points", found)
    assert list(plugged.plugged_app().domains) == ["ratings"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no.such.module:X", "cannot be imported: ModuleNotFoundError"),
        (f"{__name__}:Ratings", "must name a Domain"),
    ],
)
def test_a_package_whose_domain_is_none_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str, says: str
) -> None:

    def found(group: str) -> list[EntryPoint]:
        return [EntryPoint("bad", value, group)]

    monkeypatch.setattr(plugged, "entry_points", found)
    with pytest.raises(DeclarationRefused, match=f"'bad'.*{says}"):
        plugged.plugged_app()


def test_declaring_imports_no_web_framework_and_no_command_line() -> None:
    code = (
        "import sys, headwater; from headwater.app import Domain; Domain(name='x');"
        "sys.exit(bool({'fastapi', 'typer', 'uvicorn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
