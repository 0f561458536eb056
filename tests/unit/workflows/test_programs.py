"""Programs made at random: taken up from any place in their history, they go on as they did."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.app import Headwater
from tests.unit.workflows.driver import Owner, assert_same_everywhere, at_random

app = Headwater("programs")
Op = list[Any]


@app.step
def work(name: str) -> str:
    return name


@app.step
def fail(name: str) -> str:
    raise ValueError(name)


@app.workflow
async def program(ops: Any) -> str:
    trace: list[str] = []
    await asyncio.gather(*(_do(op, trace) for op in ops), return_exceptions=True)
    return " ".join(trace)


async def _do(op: Op, trace: list[str]) -> None:  # noqa: PLR0912 - one for each kind
    kind, *rest = op
    try:
        match kind:
            case "work":
                trace.append(await work(rest[0]))
            case "fail":
                await fail(rest[0])
            case "sleep":
                await asyncio.sleep(rest[0])
            case "say":
                app.set_state(rest[0])
            case "all":
                await asyncio.gather(*(_do(one, trace) for one in rest[0]))
            case "group":
                async with asyncio.TaskGroup() as group:
                    for one in rest[0]:
                        group.create_task(_do(one, trace))
            case "any":
                tasks = {asyncio.create_task(_do(one, trace)) for one in rest[0]}
                done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                trace.append(f"{len(done)}/{len(pending)}")
                for task in pending:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            case "each":
                for nearest in asyncio.as_completed([work(name) for name in rest[0]]):
                    trace.append(await nearest)  # noqa: PERF401
            case "within":
                with suppress(TimeoutError):
                    async with asyncio.timeout(rest[0]):
                        await _do(rest[1], trace)
            case "shield":
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(_do(rest[1], trace)), rest[0])
            case "stop":
                task = asyncio.create_task(_do(rest[0], trace))
                await _do(rest[1], trace)
                task.cancel()
                await asyncio.wait([task])
            case "after":
                try:
                    await _do(rest[0], trace)
                finally:
                    await _do(rest[1], trace)
            case "then":
                for one in rest[0]:
                    await _do(one, trace)
            case _:
                raise AssertionError(kind)
    except ValueError as error:
        trace.append(f"!{error}")
        raise


names = st.sampled_from("abcdef")
times = st.sampled_from([0, 0.001, 0.0035, 1, 60])
leaves = st.one_of(
    st.tuples(st.just("work"), names),
    st.tuples(st.just("fail"), names),
    st.tuples(st.just("sleep"), times),
    st.tuples(st.just("say"), names),
    st.tuples(st.just("each"), st.lists(names, min_size=1, max_size=4)),
)


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(["all", "group", "any", "then"]), several),
        st.tuples(st.sampled_from(["within", "shield"]), times, inner),
        st.tuples(st.sampled_from(["stop", "after"]), inner, inner),
    )


ops = st.lists(st.recursive(leaves, _deeper, max_leaves=8), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ops=ops, order=st.integers(0, 1000), cancel_after=st.none() | st.integers(1, 6))
def test_a_program_goes_on_as_it_did(ops: list[Op], order: int, cancel_after: int | None) -> None:
    owner = Owner(program, ops, choose=at_random(order), cancel_after=cancel_after).go()
    owner.execution.evict()
    assert_same_everywhere(owner)
