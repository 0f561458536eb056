"""What a pipeline itself records: commands that were accepted to be handled later, and those that were handled.

They are in a stream of their own beside the aggregate's: `command`, `<pipeline>/<aggregate>`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from headwater.events.envelope import Stream
from headwater.events.model import Event
from headwater.events.registry import Registry

STREAM_TYPE: Final = "command"


class CommandAccepted(Event):
    """A command that is to be handled in its turn."""

    type: Literal["command_accepted"] = "command_accepted"
    key: str
    command: str
    body: dict[str, Any]
    digest: str


class CommandHandled(Event):
    """A command was handled, and how many events came of it, up to which version of the aggregate."""

    type: Literal["command_handled"] = "command_handled"
    key: str
    command: str
    digest: str
    events: int
    version: int


class CommandRefused(Event):
    """A command that was accepted and that its handler refuses: it is not tried again."""

    type: Literal["command_refused"] = "command_refused"
    key: str
    command: str
    digest: str
    error: str


class CommandsSettled(Event):
    """There was nothing left to handle of the accepted commands; these were handled otherwise."""

    type: Literal["commands_settled"] = "commands_settled"
    keys: tuple[str, ...] = ()


def command_stream(pipeline: str, aggregate: str, tenant: str) -> Stream:
    return Stream(STREAM_TYPE, f"{pipeline}/{aggregate}", tenant)


def register_command_events(registry: Registry) -> None:
    """Make them known; again is once."""
    for model in (CommandAccepted, CommandHandled, CommandRefused, CommandsSettled):
        registry.add(model)
