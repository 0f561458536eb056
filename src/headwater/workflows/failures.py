"""Errors as data: stored once, and raised the same on the first time and on every replay.

An error is raised again as its own class where that can be imported and made from its stored arguments so that it says
the same; else as a stand-in that names it. The first time, too, what is raised is what was stored.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from headwater.errors import HookConflictError, StepError
from headwater.runs.events import ErrorInfo

_PLAIN: Final = (str, int, bool, type(None))
_MOST: Final = 8_000
_DEEPEST: Final = 5
_OURS: Final = str(Path(__file__).parents[1])


def describe(error: BaseException, *, depth: int = 0) -> ErrorInfo:
    """What is stored of an error."""
    kind = type(error)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    args: list[Any] = list(error.args)
    code = getattr(error, "code", None)
    stand_in = isinstance(error, StepError) and error.type
    return ErrorInfo(
        type=error.type if isinstance(error, StepError) and stand_in else kind.__qualname__,
        module="" if stand_in else kind.__module__,
        message=_text(error)[:_MOST],
        code=code if isinstance(code, str) else None,
        args=args if all(isinstance(arg, _PLAIN) and len(str(arg)) <= _MOST for arg in args) else None,
        stack=_stack(error),
        cause=describe(cause, depth=depth + 1) if cause is not None and depth < _DEEPEST else None,
    )


def rebuild(info: ErrorInfo, stand_in: Callable[[ErrorInfo], Exception] | None = None) -> Exception:
    """The error to raise."""
    error = _own_class(info) or (stand_in or _step_error)(info)
    if info.cause is not None:
        error.__cause__ = rebuild(info.cause)
    return error


def _step_error(info: ErrorInfo) -> Exception:
    return StepError(info.message, type=info.type, stack=info.stack)


def _own_class(info: ErrorInfo) -> Exception | None:
    if not info.module or info.args is None:
        return None
    try:
        found: Any = import_module(info.module)
        for part in info.type.split("."):
            found = getattr(found, part)
        if not (isinstance(found, type) and issubclass(found, Exception)) or found is HookConflictError:
            return None
        error = cast(Any, found)(*info.args)
        return error if _text(error)[:_MOST] == info.message else None
    except Exception:  # noqa: BLE001  whatever a class of the user's does: it cannot be made here
        return None


def _stack(error: BaseException) -> str:
    """The lines of the user's code, without ours above them."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(_OURS)]
    return "".join(traceback.format_list(theirs or frames))[-_MOST:]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001
        return f"<{type(error).__qualname__} that cannot be shown>"
