"""Files that a command writes and reads: whole under their name, or not there; `-` is a standard stream."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from headwater.errors import PayloadRefused

STANDARD = "-"


@contextmanager
def target(file: str) -> Generator[Callable[[bytes], object]]:
    """Where to write. What is under way has another name until it is whole and on the disk."""
    if file == STANDARD:
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
def source(file: str) -> Generator[Iterator[str]]:
    """The lines of a file."""
    if file == STANDARD:
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
