"""A pipeline in an app, with its worker: projections follow, whole streams are read again, the log is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater import Headwater
from headwater.app.domain import Domain
from headwater.errors import DeclarationRefused, LogClosed
from headwater.log.log import Log
from tests.integration.pipelines.accounts import Balance, Pay, accounts


@pytest.mark.parametrize("from_stream", [False, True], ids=["fold", "stream"])
async def test_states_follow_the_commands(log: Log, from_stream: bool) -> None:
    app = Headwater("bank")
    pipeline = app.add_pipeline(accounts(from_stream=from_stream))
    async with app.connect(log=log, worker=True):
        assert app.log is log
        service = pipeline.service
        for n in range(20):
            await service.handle(f"a{n % 4}", Pay(cents=n), key=f"k{n}")
        position = (await log.head()).position
        for n in range(4):
            expected = Balance(cents=sum(range(n, 20, 4)))
            assert await service.projected(f"a{n}", position=position) == expected
            assert (await service.fetch(f"a{n}")).state == expected
        await service.rebuild()
        assert await service.projected("a1", position=position) == Balance(cents=1 + 5 + 9 + 13 + 17)


async def test_the_log_of_an_app_is_the_one_that_is_open(tmp_path: Path) -> None:
    app = Headwater("bank")
    pipeline = accounts()
    app.include(Domain(name="banking", pipelines=[pipeline]))
    assert list(app.projections) == ["accounts", "turnover"]
    with pytest.raises(LogClosed, match="no log open"):
        _ = pipeline.service
    async with app.connect("memory:") as hw:
        assert pipeline.service.log is hw.log
        async with app.connect(f"sqlite:///{tmp_path}/a.db", worker=False):
            with pytest.raises(LogClosed, match="2 logs"):
                _ = app.log
        assert app.log is hw.log
    with pytest.raises(DeclarationRefused, match="belongs to no app"):
        _ = accounts().service
