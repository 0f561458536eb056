"""Exit codes and error lines: what a script can rely on."""

from __future__ import annotations

import json
import sys
import traceback
from enum import IntEnum

import typer

from headwater.cli.output import ERRORS, plain
from headwater.errors import (
    ChainBroken,
    HeadwaterError,
    HookConflictError,
    NonDeterminismError,
    RunError,
    SettingRefused,
    SettingUnknown,
    StepFailed,
    Trouble,
    Undecodable,
)


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    PROBLEM = 1  # it did its work, and found something wrong
    USAGE = 2
    REFUSED = 3
    TROUBLE = 4
    DEFECT = 70  # Headwater itself is wrong; the traceback is on stderr
    INTERRUPTED = 130
    READER_GONE = 141  # what a shell shows for a program whose pipe was closed
    STOPPED = 143


class NotThere(HeadwaterError):
    """What was asked for is not in the log."""


def explain(error: Exception, *, as_json: bool) -> Exit:
    """Say on stderr what went wrong, and with which code to exit."""
    match error:
        case typer.TyperException():
            exit, code, message = Exit.USAGE, "usage", error.format_message()
        case HeadwaterError():
            exit, code, message = _exit_of(error), error.code, str(error)
        case OSError():
            exit, code = Exit.TROUBLE, "file"
            message = f"{error.filename or 'Output'}: {error.strerror or error}."
        case _:
            traceback.print_exception(error)
            exit, code, message = Exit.DEFECT, "defect", f"This should not have happened: {error!r}."
    line = " ".join(message.split())
    as_text = f"{ERRORS.paint('error:', 'red')} {plain(line)}"
    sys.stderr.write((json.dumps({"error": code, "message": line}) if as_json else as_text) + "\n")
    return exit


def _exit_of(error: HeadwaterError) -> Exit:
    match error:
        case ChainBroken() | Undecodable():
            return Exit.PROBLEM
        case NonDeterminismError() | StepFailed() | RunError() | HookConflictError():
            return Exit.PROBLEM
        case SettingRefused() | SettingUnknown():
            return Exit.USAGE
        case Trouble():
            return Exit.TROUBLE
        case _:
            return Exit.REFUSED
