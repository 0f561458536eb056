"""Log lines of a process: for people, or as JSON objects for who collects them; with run, step and tenant."""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from headwater.app.current import STEP, current_run


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="How log lines are written to stderr.")
]
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "where"}


def set_up_logs(form: LogFormat) -> None:
    """Write log lines to stderr, each with the step that it comes from, where it comes from one."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_in_step)
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s%(where)s"
    handler.setFormatter(_JsonLines() if form is LogFormat.JSON else logging.Formatter(text))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _in_step(record: logging.LogRecord) -> bool:
    context = STEP.get(None)
    where = ""
    if context is not None:
        record.run, record.step, record.tenant, record.attempt = (
            context.run, context.step, context.tenant, context.attempt,
        )  # fmt: skip
        where = f" [run {context.run} step {context.step} attempt {context.attempt}]"
    elif (run := current_run()) is not None:
        record.run = run.run_id
        where = f" [run {run.run_id}]"
    record.where = where
    return True


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)
