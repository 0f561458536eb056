"""What SQLite's errors mean to a caller of the log."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from headwater.errors import (
    HeadwaterError,
    LogUnavailable,
    OutcomeUnknown,
    StorageFull,
    StorageReadOnly,
    StorageRefused,
)
from headwater.log.port import BatchRefused, BatchRetry, BatchUnknown

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_SOMEBODYS: Final = (apsw.ConstraintError, apsw.TooBigError, apsw.MismatchError, apsw.RangeError)


class CommitFailed(Exception):
    """The disk failed in COMMIT: what was written may or may not survive a crash."""


Failure = apsw.Error | CommitFailed | ValueError | TypeError | OverflowError
FAILURES: Final = (
    apsw.Error,
    CommitFailed,
    ValueError,
    TypeError,
    OverflowError,
)  # the last: values no column holds
Explain = Callable[[Failure, Path, int], Exception]


def explain(error: Failure, path: Path, system_errno: int = 0) -> HeadwaterError:
    """The error of the tree that says it."""
    match error:
        case CommitFailed():
            return OutcomeUnknown(f"{path}: {error} Do it again; what has an id or a key is done once.")
        case apsw.BusyError():
            return LogUnavailable(f"{path} has been written by another process for too long. Try again.")
        case apsw.ReadOnlyError():
            return StorageReadOnly(
                f"{path} or its folder is read-only; nothing was written. Make both writable."
            )
        case apsw.FullError():
            full = True
        case _:
            full = system_errno in _FULL and isinstance(error, apsw.IOError | apsw.CantOpenError)
    if full:
        return StorageFull(
            f"There is no space left for {path}; nothing was written. Free some, and append again."
        )
    return StorageRefused(f"SQLite refused {path}: {error}. {_advice(error)}")


def _advice(error: Failure) -> str:
    match error:
        case apsw.NotADBError() | apsw.CorruptError():
            return "It is damaged, or no SQLite database: restore it from a copy."
        case apsw.IOError() | apsw.CantOpenError():
            return "See that file, folder and disk are there and in order."
        case _:
            return "Nothing was written."


def explain_batch(error: Failure, path: Path, system_errno: int = 0) -> Exception:
    """The same for a whole batch: whose fault it is, and whether to try again."""
    meaning = explain(error, path, system_errno)
    if isinstance(meaning, OutcomeUnknown):
        return BatchUnknown(str(meaning))
    if isinstance(meaning, LogUnavailable):
        return BatchRetry(str(meaning))
    somebodys = not isinstance(error, apsw.Error) or isinstance(error, _SOMEBODYS)
    return BatchRefused(meaning, everybody=not somebodys)
