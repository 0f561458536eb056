"""The state machines as Mermaid diagrams, for the reference: `python -m headwater.runs.diagrams` prints them."""

from __future__ import annotations

from typing import Any

from headwater.runs.machines import MACHINES, Machine


def diagram(machine: Machine[Any]) -> str:
    """A machine as a state diagram. What is absorbed is not drawn."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in machine.moves.items():
        arrows.setdefault((before or "[*]", after), []).append(event)
    left = {before for before, after in arrows if before != after}
    final = [status for status in dict.fromkeys(machine.moves.values()) if status not in left]
    lines = [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    return "\n".join(["stateDiagram-v2", *lines, *[f"    {status} --> [*]" for status in final]])


def diagrams() -> str:
    """All machines, in Markdown."""
    return "\n\n".join(
        [f"## {machine.name.capitalize()}\n\n```mermaid\n{diagram(machine)}\n```" for machine in MACHINES]
    )


if __name__ == "__main__":
    print(diagrams())  # noqa: T201
