"""Log lines say which run and step they come from."""

from __future__ import annotations

import json
import logging

import pytest

from headwater import Headwater
from headwater.cli.logs import LogFormat, set_up_logs

app = Headwater("logs")
MINE = logging.getLogger("mine")


@app.step
async def speak(word: str) -> None:
    MINE.warning("said %s", word)


@app.workflow
async def talk(word: str) -> None:
    MINE.warning("will say %s", word)
    await speak(word)


@pytest.mark.parametrize("form", list(LogFormat))
async def test_a_line_names_its_run_and_step(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    handlers = logging.root.handlers[:]
    try:
        set_up_logs(form)
        async with app.connect("memory:", worker=True) as hw:
            await (await hw.start(talk, "hello", id="r-1")).result()
    finally:
        logging.root.handlers[:] = handlers
    lines = [line for line in capsys.readouterr().err.splitlines() if "say" in line or "said" in line]
    if form is LogFormat.TEXT:
        assert lines[0].endswith("will say hello [run r-1]")
        assert lines[1].endswith("said hello [run r-1 step speak attempt 1]")
    else:
        will, said = map(json.loads, lines)
        assert (will["run"], will["level"], will["logger"]) == ("r-1", "warning", "mine")
        assert (said["run"], said["step"], said["tenant"], said["attempt"]) == ("r-1", "speak", "default", 1)
