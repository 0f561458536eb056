"""A workflow as it is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar

from headwater.app.arguments import Signature
from headwater.errors import DeclarationRefused
from headwater.events.names import check_name

P = ParamSpec("P")
R = TypeVar("R")


class Bound(Generic[R]):
    """A workflow with the arguments of a run to be started."""

    def __init__(self, workflow: Workflow[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.workflow, self.args, self.kwargs = workflow, args, kwargs

    def bind(self) -> Bound[R]:
        """Itself: it has its arguments."""
        return self

    def input(self) -> dict[str, Any]:
        """The arguments as they are stored."""
        return self.workflow.signature.dump(self.args, self.kwargs)


class Workflow(Generic[P, R]):
    """A deterministic async function. Called directly it is just that; a run of it is started by a client."""

    def __init__(
        self,
        function: Callable[P, Coroutine[Any, Any, R]],
        *,
        name: str | None,
        version: int,
        timeout: float | None,
    ) -> None:
        self.function, self.version, self.timeout = function, version, timeout
        self.name = check_name("workflow", name or function.__name__)
        if not inspect.iscoroutinefunction(function):
            raise DeclarationRefused(f"Workflow {self.name!r} must be an async function.")
        if version < 1:
            raise DeclarationRefused(f"Workflow {self.name!r} has version {version}; versions count from 1.")
        self.signature  # noqa: B018  (types that cannot be stored are refused now)
        self.__name__, self.__doc__ = self.name, function.__doc__

    @cached_property
    def signature(self) -> Signature:
        return Signature(self.function, f"workflow {self.name!r}")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        return self.function(*args, **kwargs)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Bound[R]:
        """This workflow with arguments, for `hw.start`."""
        return Bound(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<workflow {self.name}@{self.version}>"
