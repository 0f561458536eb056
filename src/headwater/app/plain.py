"""From plain JSON to a workflow with its arguments: what a command line or a request names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

from headwater.app.program import Headwater
from headwater.app.workflows import Bound, Workflow
from headwater.errors import ArgumentsRefused, DeclarationRefused, WorkflowUnknown

_IN_ORDER: Final = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


def workflow_of(app: Headwater, name: str, version: int | None = None) -> Workflow[..., Any]:
    """A workflow by name; the newest version if none is given."""
    found = {v: workflow for (n, v), workflow in app.workflows.items() if n == name}
    chosen = found.get(max(found, default=0) if version is None else version)
    if chosen is None:
        asked = name if version is None else f"{name}@{version}"
        raise WorkflowUnknown(app.name, asked, [f"{n}@{v}" for n, v in sorted(app.workflows)])
    return chosen


def bound(
    workflow: Workflow[..., Any], given: Mapping[str, Any] | None = None, ordered: Sequence[Any] = ()
) -> tuple[Bound[Any], dict[str, Any]]:
    """The workflow with arguments by name, or in order, as its own types read them; and the same, to be stored."""
    parameters = list(workflow.signature.parameters.values())
    known = {parameter.name for parameter in parameters}
    if given is not None and ordered:
        raise ArgumentsRefused(workflow.name, "they are given both in order and by name; give one")
    if given is not None and (unknown := sorted(set(given) - known)):
        takes = ", ".join(sorted(known)) or "none"
        raise ArgumentsRefused(workflow.name, f"it has no argument {', '.join(unknown)}; it takes: {takes}")
    by_name = dict(given) if given is not None else _by_name(workflow, parameters, ordered)
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL and not isinstance(
            by_name.get(parameter.name, []), list
        ):
            raise ArgumentsRefused(workflow.name, f"{parameter.name} is a list")
    try:
        args, kwargs = workflow.signature.load(by_name)
        made: Bound[Any] = workflow.bind(*args, **kwargs)
        return made, made.input()
    except DeclarationRefused as error:
        raise ArgumentsRefused(workflow.name, str(error)) from None


def _by_name(
    workflow: Workflow[..., Any], parameters: Sequence[inspect.Parameter], values: Sequence[Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    left = list(values)
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            found[parameter.name], left = left, []
        elif left and parameter.kind in _IN_ORDER:
            found[parameter.name] = left.pop(0)
    if left:
        raise ArgumentsRefused(
            workflow.name,
            f"it takes {len(values) - len(left)} arguments in order, and got {len(values)}; give the others by name",
        )
    return found
