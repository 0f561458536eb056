"""`headwater projection` on states in ClickHouse: the same commands, with `--app`."""

import json
from typing import Any

import pytest

from headwater import Log
from tests.integration.cli.conftest import Command
from tests.integration.cli.test_projections import APP, spend
from tests.servers.clickhouse import ClickHouseServer


@pytest.fixture
def spending(command: Command, clickhouse_server: ClickHouseServer) -> Command:
    source = APP.replace("events=(Paid,)", "events=(Paid,), store=kept").replace(
        "app = Headwater", f'kept = ClickHouseStates("{clickhouse_server.url}")\napp = Headwater'
    )
    source = "from headwater.projections.clickhouse import ClickHouseStates\n" + source
    command.folder.joinpath("shop.py").write_text(source)
    space: dict[str, Any] = {"__name__": "shop"}
    exec(source, space)

    async def fill(log: Log) -> None:
        await spend(log, space)
        await space["kept"].close()

    command.fill(fill)
    return command


@pytest.mark.timeout(180)
def test_a_person_looks_after_states_in_clickhouse(spending: Command) -> None:
    def said(*arguments: str) -> Any:
        done = spending("projection", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert spending("projection", "list", "--json").stdout == ""
    listed = said("list", "--app", "shop:app")
    assert (listed["name"], listed["position"], listed["parked"]) == ("spent", 4, 1)
    assert said("show", "spent", "--app", "shop:app", "--key", "order/a")["state"] == {"cents": 3}
    assert said("pause", "spent", "--app", "shop:app")
    assert said("show", "spent", "--app", "shop:app")["status"] == "paused"
    assert said("resume", "spent", "--app", "shop:app")
    assert said("redrive", "spent", "--app", "shop:app")["asked"] == 1
    assert said("verify", "shop:app", "spent")["different"] == []
    assert said("rebuild", "shop:app", "spent")["keys"] == 2
    assert said("show", "spent", "--app", "shop:app", "--key", "order/b")["parked"] == 4
