"""A domain: all that one part of a program brings along, so that an app takes it in with one line.

    evaluations = Domain(name="evaluations", pipelines=[scores], routes=routes, commands=commands)
    app.include(evaluations)

Routes, commands and parts are functions, called by whoever has a use for them: a worker never imports FastAPI, and a
command line that prints its help opens no log. Server, worker and command line know domains by these words alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from headwater.errors import DeclarationRefused
from headwater.events.model import Event, type_name
from headwater.events.names import check_name

if TYPE_CHECKING:
    from fastapi import APIRouter
    from typer import Typer

    from headwater.app.program import Headwater
    from headwater.log.log import Log

Scope = Literal["read", "write", "admin"]


class Part(Protocol):
    """Some background work: it begins, it stops cleanly, and it tells how its loops fare (see `Loops`)."""

    @property
    def progress(self) -> Mapping[str, float]: ...
    @property
    def failing(self) -> Mapping[str, str]: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Declared(Protocol):
    """A pipeline, as far as the app is concerned that it is declared in."""

    @property
    def name(self) -> str: ...
    @property
    def aggregate_type(self) -> str: ...
    @property
    def events(self) -> Sequence[type[Event]]: ...
    @property
    def projections(self) -> Sequence[Any]: ...

    log_of: Callable[[], Log] | None
    """Where its app's log is found; the app sets it."""

    def parts(self, log: Log) -> Sequence[Part]:
        """What a worker does for it, beside its projections."""
        ...


class Serving(Protocol):
    """What the server lends to a domain's routes."""

    @property
    def app(self) -> Headwater: ...
    @property
    def log(self) -> Log: ...
    def allow(self, scope: Scope) -> Any:
        """What lets through who may do this, and gives their tenant: `tenant: str = serving.allow("read")`."""
        ...


Routes = Callable[[Serving], "APIRouter"]
Commands = Callable[[], "Typer"]
Parts = Callable[["Headwater", "Log"], Sequence[Part]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Domain:
    """Events and pipelines; and, made when needed: routes under `/api/v1/<name>`, a group of commands, worker parts."""

    name: str
    events: Sequence[type[Event]] = ()
    pipelines: Sequence[Declared] = ()
    routes: Routes | None = None
    commands: Commands | None = None
    parts: Parts | None = None

    def __post_init__(self) -> None:
        check_name("domain", self.name)

    def all_events(self) -> list[type[Event]]:
        """Its events, and those of its pipelines, once each."""
        return list(dict.fromkeys([*self.events, *(e for one in self.pipelines for e in one.events)]))


def add_events(known: list[type[Event]], new: Sequence[type[Event]], whose: str) -> None:
    """Add event models to those of an app; two models under one name are refused, and nothing is added."""
    by_name = {type_name(model): model for model in known}
    for model in new:
        other = by_name.setdefault(type_name(model), model)
        if other is not model:
            raise DeclarationRefused(
                f"{whose} declares event type {type_name(model)!r} by {model.__module__}.{model.__qualname__}, but "
                f"{other.__module__}.{other.__qualname__} has that name already. Rename one of them."
            )
    known.extend(model for model in dict.fromkeys(new) if model not in known)


def add_pipelines(known: dict[str, Declared], new: Sequence[Declared], whose: str) -> None:
    """Add pipelines to those of an app, by name; a name or an aggregate type that is taken is refused."""
    by_type = {pipeline.aggregate_type: pipeline for pipeline in known.values()}
    added: dict[str, Declared] = {}
    for pipeline in new:
        if known.get(pipeline.name) is pipeline:
            continue
        if pipeline.name in known or added.setdefault(pipeline.name, pipeline) is not pipeline:
            raise DeclarationRefused(
                f"{whose} declares pipeline {pipeline.name!r}, which is declared already. Rename one of them."
            )
        other = by_type.setdefault(pipeline.aggregate_type, pipeline)
        if other is not pipeline:
            raise DeclarationRefused(
                f"{whose} declares pipeline {pipeline.name!r} of aggregate type {pipeline.aggregate_type!r}, which is "
                f"that of pipeline {other.name!r}. An aggregate type has one pipeline: give this one another."
            )
    known.update(added)


def check_projections(known: Mapping[str, Any], new: Sequence[Declared], whose: str) -> None:
    """Refuse pipelines that bring a projection under a name that is taken, by the app's or by each other's."""
    taken = dict(known)
    for one in (projection for pipeline in new for projection in pipeline.projections):
        if taken.setdefault(one.name, one) is not one:
            raise DeclarationRefused(
                f"{whose} declares projection {one.name!r}, which is declared already. Rename it."
            )
