"""The example domain, as a user would run it, on every backend."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headwater import Headwater
from headwater.log.log import Log

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


async def test_a_domain_of_one_module(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "evaluations", raising=False)
    from evaluations import Given, GiveScore, WithdrawScore, by_name, evaluations, scores

    app = Headwater("shop")
    app.include(evaluations)
    async with app.connect(log=log, worker=True):
        service = scores.service
        for run in ("run-1", "run-2"):
            await service.handle(run, GiveScore(name="helpful", value=0.5, by="Ann"), key=f"{run}/1")
            await service.handle(run, GiveScore(name="polite", value=1.0, by="Ann"), key=f"{run}/2")
        await service.handle("run-2", WithdrawScore(name="polite"), key="run-2/3")
        position = (await log.head()).position
        assert (await service.projected("run-1", position=position)).values == {"helpful": 0.5, "polite": 1.0}
        assert (await service.projected("run-2", position=position)).values == {"helpful": 0.5}
        from headwater.projections.states import States

        states = States(log, by_name)
        await states.caught_up(position)
        assert await states.state("helpful") == Given(count=2, total=1.0)


def test_it_is_short() -> None:
    text = (EXAMPLES / "evaluations.py").read_text().partition('"""\n\n')[2]
    code = [line for line in text.splitlines() if line and not line.startswith(("from ", "import "))]
    assert len(code) < 80
