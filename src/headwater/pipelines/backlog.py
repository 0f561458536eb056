"""The accepted commands of one aggregate that wait, the oldest first, as its command stream tells.

Read once with the help of snapshots, and then on from where it was: a command of a long backlog costs no more than one
of a short one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from typing import Final

from pydantic import TypeAdapter

from headwater.events.envelope import Recorded, Stream
from headwater.log.log import Log
from headwater.log.snapshots import Fold, Folder
from headwater.pipelines.events import CommandAccepted, CommandHandled, CommandRefused, CommandsSettled

_VERSIONS: Final = TypeAdapter(dict[str, int])


class Backlog:
    """By key, the versions at which they were accepted."""

    def __init__(self, log: Log, folder: Folder, stream: Stream) -> None:
        self._log, self._folder, self._stream = log, folder, stream
        self._waiting: OrderedDict[str, int] = OrderedDict()
        self._version: int | None = None

    @property
    def keys(self) -> list[str]:
        return list(self._waiting)

    async def oldest(self, passed: Container[str]) -> CommandAccepted | None:
        """The command that is next, but for those that are passed over."""
        await self._read_on()
        version = next((version for key, version in self._waiting.items() if key not in passed), None)
        if version is None:
            return None
        async for recorded in self._log.stream(self._stream, from_version=version, to_version=version):
            if isinstance(recorded.event, CommandAccepted):
                return recorded.event
        return None

    async def _read_on(self) -> None:
        if self._version is None:
            fold = Fold(
                "waiting-commands", _VERSIONS, dict[str, int](), _wait
            )  # of its own: it changes its state
            waiting, self._version = await self._folder.state(self._stream, fold)
            self._waiting = OrderedDict(waiting)
            return
        async for recorded in self._log.stream(self._stream, from_version=self._version + 1):
            _wait(self._waiting, recorded)
            self._version = recorded.version


def _wait(waiting: dict[str, int], recorded: Recorded) -> dict[str, int]:
    match recorded.event:
        case CommandAccepted(key=key):
            waiting[key] = recorded.version
        case CommandHandled(key=key) | CommandRefused(key=key):
            waiting.pop(key, None)
        case CommandsSettled(keys=keys):
            for key in keys:
                waiting.pop(key, None)
        case _:
            pass
    return waiting
