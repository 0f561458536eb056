"""`headwater projection`, as users run it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from headwater import Log, Stream, Write
from headwater.projections.open import store_for, table_for
from headwater.projections.states import States
from headwater.projections.stores import Key
from tests.integration.cli.conftest import Command
from tests.projecting import projecting

APP = """
from typing import Literal
from pydantic import BaseModel
from headwater import Event, Headwater
from headwater.projections.projection import Projection

class Paid(Event):
    type: Literal["paid"] = "paid"
    cents: int

class Spent(BaseModel):
    cents: int = 0

def spend(state: Spent, event: Paid) -> Spent:
    if event.cents == 13:
        raise ValueError("thirteen\\x1b[31m")
    return Spent(cents=state.cents + event.cents)

app = Headwater("shop")
spent = app.project(Projection("spent", state=Spent, initial=Spent(), fold=spend, events=(Paid,)))
"""


async def spend(log: Log, space: Mapping[str, Any]) -> None:
    """Two orders whose states are kept, one of them parked."""
    paid, spent = space["Paid"], space["spent"]
    await log.append(Write(Stream("order", "a"), [paid(cents=1), paid(cents=2)]))
    [last] = await log.append(Write(Stream("order", "b"), [paid(cents=4), paid(cents=13)]))
    async with projecting(log, spent):
        await States(log, spent).caught_up(last.position, key="order/a")


@pytest.fixture
def spending(command: Command) -> Command:
    space: dict[str, Any] = {"__name__": "shop"}
    exec(APP, space)
    command.folder.joinpath("shop.py").write_text(APP)
    command.fill(lambda log: spend(log, space))
    return command


def test_a_person_sees_how_far_projections_are_and_what_is_parked(spending: Command) -> None:
    [line] = spending("projection", "list").stdout.splitlines()
    assert line.split() == ["spent", "v1", "parked", "position", "4,", "1", "parked"]
    [listed] = map(json.loads, spending("projection", "list", "--json").stdout.splitlines())
    assert (listed["name"], listed["position"], listed["lag"], listed["parked"]) == ("spent", 4, 0, 1)
    shown = spending("projection", "show", "spent").stdout
    assert "default/order/b  parked at 4: ValueError: thirteen\\x1b" in shown
    state = json.loads(spending("projection", "show", "spent", "--key", "order/a", "--json").stdout)
    assert (state["state"], state["position"]) == ({"cents": 3}, 2)


def test_a_person_pauses_resumes_and_redrives(spending: Command) -> None:
    assert "stands still" in spending("projection", "pause", "spent").stdout
    assert json.loads(spending("projection", "show", "spent", "--json").stdout)["status"] == "paused"
    assert "goes on" in spending("projection", "resume", "spent").stdout
    assert json.loads(spending("projection", "redrive", "spent", "--json").stdout)["asked"] == 1
    assert json.loads(spending("projection", "list", "--json").stdout)["asked"] == 1
    missing = spending("projection", "pause", "spend")
    assert missing.returncode == 3
    assert "headwater projection list" in missing.stderr


def test_a_person_verifies_and_rebuilds(spending: Command) -> None:
    assert spending("projection", "verify", "shop:app", "spent").stdout.startswith(
        "ok: spent verified, 2 states"
    )

    async def spoil(log: Log) -> None:
        store = store_for(log)
        at = await store.take("spent", 1, "spoiler", 1)
        assert at is not None
        row = (await store.load("spent", 1, [Key("default", "order/a")]))[Key("default", "order/a")]
        await store.save(at, at.position, [row._replace(state=b'{"cents":99}')])

    spending.fill(spoil)
    found = spending("projection", "verify", "shop:app", "spent", "--json")
    assert (found.returncode, json.loads(found.stdout)["different"]) == (1, ["default/order/a"])
    assert spending("projection", "rebuild", "shop:app", "spent").returncode == 0
    assert spending("projection", "verify", "shop:app", "spent").returncode == 0
    wrong = spending("projection", "rebuild", "shop:app", "spend")
    assert wrong.returncode == 2
    assert "it has: spent" in wrong.stderr


TABLE = """
from headwater.projections.tables import Table

def line(key, state):
    return [(state.cents,)]

sums = Table("sums", {"cents": "bigint"}, line)
shown = app.project(
    Projection("shown", state=Spent, initial=Spent(), fold=spend, events=(Paid,), table=sums)
)
"""


def test_the_owner_makes_tables(command: Command, request: pytest.FixtureRequest) -> None:
    command.folder.joinpath("plain.py").write_text(APP)
    command.folder.joinpath("shop.py").write_text(APP + TABLE)
    assert "no projection of app shop has a table" in command("projection", "tables", "plain:app").stdout
    printed = command("projection", "tables", "shop:app").stdout
    assert 'CREATE TABLE IF NOT EXISTS "sums_rows"' in printed
    said = json.loads(command("projection", "tables", "shop:app", "--json").stdout)
    assert (said["projection"], said["table"], said["made"]) == ("shown", "sums", False)
    assert said["sql"].strip() == printed.strip()
    is_postgres = command.url.startswith("postgres")
    owner = request.getfixturevalue("postgres_database").owner_url if is_postgres else command.url
    if is_postgres:
        refused = command("projection", "tables", "shop:app", "--make")
        assert refused.returncode != 0
        assert "permission denied" in refused.stderr
    for _ in range(2):
        assert (
            command("projection", "tables", "shop:app", "--make", url=owner).stdout
            == "sums shows the states of shown\n"
        )

    async def look(log: Log) -> None:
        space: dict[str, Any] = {"__name__": "shop"}
        exec(APP + TABLE, space)
        await table_for(log, "shown", space["shown"].table).check()

    command.fill(look)
