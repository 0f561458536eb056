"""What every command has: the address, the form of the answer, and how to open the log and run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from headwater.errors import LogUnavailable
from headwater.events.registry import Registry
from headwater.log.log import Log
from headwater.settings import Settings, redacted

T = TypeVar("T")

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Where the log is. Default: HEADWATER_URL, else sqlite:///headwater.db.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.", show_default=False)]


class Stopped(Exception):
    """The process was asked to end."""


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command."""

    given: str | None = None
    as_json: bool = False

    @classmethod
    def of(cls, ctx: typer.Context, url: str | None, as_json: bool) -> Session:  # noqa: FBT001
        """The options before the command's name, and those after it."""
        before = ctx.find_object(cls) or cls()
        return cls(url or before.given, as_json=as_json or before.as_json)

    @property
    def url(self) -> str:
        return self.given or Settings.read().url

    @property
    def shown_url(self) -> str:
        return redacted(self.url)

    @property
    def file(self) -> Path | None:
        """The file of a SQLite log."""
        from headwater.log.open import sqlite_path

        return sqlite_path(self.url)

    @asynccontextmanager
    async def opened(self, *, create: bool = False, registry: Registry | None = None) -> AsyncGenerator[Log]:
        """The log. A SQLite file that is not there is made only by commands that are meant to make it."""
        from headwater.log.open import open_log

        if self.file is not None and not create and not self.file.exists():
            raise LogUnavailable(
                f"There is no file {self.file}. Check the address, or make a log with `headwater migrate`."
            )
        async with open_log(self.url, registry=registry) as log:
            yield log


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine. Ctrl-C and SIGTERM let it clean up first."""
    return asyncio.run(_until_stopped(work))


async def _until_stopped(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        loop.set_exception_handler(_without_what_was_cut_off)
        task.cancel()

    with suppress(NotImplementedError):  # Windows
        loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise Stopped from None
        raise


def _without_what_was_cut_off(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A connection that is stopped while it is being made leaves a loss behind that nobody can wait for."""
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)
