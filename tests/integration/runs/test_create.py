"""Creating runs: once for an id, many at once, and what is refused."""

import asyncio

import pytest

from headwater.errors import HeadwaterError, InvalidName, PayloadRefused, RunIdReused
from headwater.log.log import Log
from headwater.runs.creation import Created, NewRun
from headwater.runs.rows import fence_key, run_stream
from headwater.runs.store import Runs


async def test_a_new_run_is_pending_unowned_woken_and_listed(runs: Runs, log: Log) -> None:
    new = NewRun(id="r", workflow="w", workflow_version=2, input={"x": 1}, attributes={"a": "b"}, parent="p")
    [created] = await runs.create(new)
    assert (created.new, created.owned, created.event.input, created.appended.version) == (
        True,
        False,
        {"x": 1},
        1,
    )
    [fence] = await log.backend.fences("default", [fence_key("r")])
    assert (fence.epoch, fence.holder, fence.wakes, fence.label) == (0, None, 1, "w@2~2")
    [listed] = await runs.list()
    assert (listed.run, listed.workflow, listed.workflow_version, listed.status) == ("r", "w", 2, "pending")
    assert (listed.attributes, listed.parent, listed.state, listed.error) == ({"a": "b"}, "p", None, None)
    assert (await runs.get("r")).input == {"x": 1}


async def test_a_run_may_be_its_creators_at_once(runs: Runs, log: Log) -> None:
    [created] = await runs.create(NewRun(id="r", workflow="w"), owner="me")
    [fence] = await log.backend.fences("default", [fence_key("r")])
    assert (created.owned, fence.epoch, fence.holder, fence.wakes) == (True, 1, "me", 0)


async def test_many_are_one_round_trip(runs: Runs, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append = log.backend.append

    async def counted(shard: int, calls: list[object]) -> object:
        sizes.append(len(calls))
        return await append(shard, calls)  # type: ignore[arg-type]

    monkeypatch.setattr(log.backend, "append", counted)
    created = await runs.create(*[NewRun(id=f"r{i}", workflow="w") for i in range(50)])
    assert sizes == [50]
    assert [c.run for c in created if c.new] == [f"r{i}" for i in range(50)]


async def test_the_same_request_is_the_same_run(runs: Runs) -> None:
    [first] = await runs.create(NewRun(id="r", workflow="w", input=[1]), owner="me")
    [again] = await runs.create(NewRun(id="r", workflow="w", workflow_version=2, input=[1]), owner="you")
    assert (again.new, again.owned, again.event) == (False, False, first.event)
    assert again.appended.positions == first.appended.positions
    assert len([event async for event in runs.events("r")]) == 1


@pytest.mark.parametrize(("workflow", "input"), [("w", [2]), ("w", [True]), ("other", [1])])
async def test_another_request_under_the_same_id_is_an_error(
    runs: Runs, workflow: str, input: object
) -> None:
    await runs.create(NewRun(id="r", workflow="w", input=[1]))
    with pytest.raises(RunIdReused) as caught:
        await runs.create(NewRun(id="s", workflow="w"), NewRun(id="r", workflow=workflow, input=input))
    assert (caught.value.run, caught.value.workflow, caught.value.asked) == ("r", "w", workflow)
    assert (await runs.get("s")).status == "pending"
    assert (await runs.get("r")).input == [1]


async def test_of_two_at_once_with_different_inputs_one_wins(runs: Runs) -> None:
    async def create(input: int) -> Created | HeadwaterError:
        try:
            return (await runs.create(NewRun(id="r", workflow="w", input=input), owner=f"w{input}"))[0]
        except RunIdReused as error:
            return error

    outcomes = await asyncio.gather(*[create(i) for i in range(6)])
    won = [outcome for outcome in outcomes if isinstance(outcome, Created)]
    assert [created.owned for created in won] == [True]
    assert (await runs.get("r")).input == won[0].event.input


async def test_the_same_id_of_two_tenants_is_two_runs(runs: Runs) -> None:
    await runs.create(NewRun(id="r", workflow="w", input=1, tenant="a"))
    await runs.create(NewRun(id="r", workflow="w", input=2, tenant="b"))
    assert [(await runs.get("r", tenant)).input for tenant in ("a", "b")] == [1, 2]


@pytest.mark.parametrize(
    "new",
    [
        NewRun(id="", workflow="w"),
        NewRun(id="a\nb", workflow="w"),
        NewRun(id="x" * 401, workflow="w"),
        NewRun(id="r", workflow=""),
        NewRun(id="r", workflow="w", attributes={"": "x"}),
        NewRun(id="r", workflow="w", tenant=""),
        NewRun(id="r", workflow="w", attributes={f"a{i}": "x" * 500 for i in range(40)}),
        NewRun(id="r", workflow="w", input=float("nan")),
    ],
)
async def test_what_cannot_be_a_run_is_refused(runs: Runs, log: Log, new: NewRun) -> None:
    with pytest.raises((InvalidName, PayloadRefused)):
        await runs.create(new)
    assert await log.version(run_stream("r")) == 0


async def test_an_id_of_the_greatest_length_can_be_a_run(runs: Runs) -> None:
    run = "é" * 200
    await runs.create(NewRun(id=run, workflow="w"))
    assert (await runs.get(run)).status == "pending"
