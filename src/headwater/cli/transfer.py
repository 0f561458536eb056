"""`headwater log export` and `import`: how a log moves between backends, or into an archive.

An export is written under a temporary name beside its target and renamed when it is complete and on the disk, so a
file with the wanted name is always whole. An import is one transaction of the backend.
"""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.output import ReaderGone, say, say_json
from headwater.cli.progress import progress
from headwater.cli.session import Json, Session, Url, run
from headwater.errors import PayloadRefused
from headwater.log.transfer import export_lines, import_lines
from headwater.runs.rebuild import RunRows

_STANDARD = "-"


def export(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Compressed when it ends in .gz; - is standard output.")
    ] = _STANDARD,
    *,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write the log as it is now, as JSON Lines."""
    session = Session.of(ctx, url, as_json)
    try:
        events = run(_export(session, file))
    except BrokenPipeError:
        raise ReaderGone from None
    if file == _STANDARD:
        return
    if session.as_json:
        say_json({"file": file, "events": events})
    else:
        say(f"exported {events:,} events to {file}")


async def _export(session: Session, file: str) -> int:
    events = -1  # the first line is the header
    async with session.opened() as log:
        with _target(file) as write, progress("exporting") as advance:
            async for line in export_lines(log, advance):
                write(line.encode() + b"\n")
                events += not line.startswith('{"blob"')
    return events


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `export` wrote; - is standard input.")],
    *,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write an export into an empty log: the same positions, ids, times and chain."""
    session = Session.of(ctx, url, as_json)
    events = run(_import(session, file))
    if session.as_json:
        say_json({"file": file, "events": events, "url": session.shown_url})
    else:
        say(f"imported {events:,} events into {session.shown_url}")


async def _import(session: Session, file: str) -> int:
    with _source(file) as lines:
        async with session.opened(create=True) as log:
            with progress("importing") as advance:
                return await import_lines(log, lines, RunRows(log.codec), advance)


@contextmanager
def _target(file: str) -> Generator[Callable[[bytes], object]]:
    """Where to write. What is under way has another name until it is whole."""
    if file == _STANDARD:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as disk:
            with (
                gzip.GzipFile(path.stem, "wb", 6, disk) if path.suffix == ".gz" else nullcontext(disk) as out
            ):
                yield out.write
            disk.flush()
            os.fsync(disk.fileno())
        unfinished.replace(path)
    except OSError as error:
        error.filename = file
        raise
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _source(file: str) -> Generator[Iterator[str]]:
    if file == _STANDARD:
        yield _readable(sys.stdin.buffer)
        return
    with gzip.open(file) if file.endswith(".gz") else Path(file).open("rb") as lines:
        yield _readable(lines)


def _readable(lines: Iterable[bytes]) -> Iterator[str]:
    """The lines, with damage told as what it is."""
    try:
        for line in lines:
            yield line.decode()
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise PayloadRefused(f"The export cannot be read to its end: {error}. Copy it again.") from None
