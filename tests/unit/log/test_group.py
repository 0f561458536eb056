"""Group commit over a scripted flush: order, retries, refusals, bisection, room, closing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import pytest

from headwater.errors import HeadwaterError, KeyTaken, LogClosed, OutcomeUnknown, StorageFull, StorageRefused
from headwater.events.clock import ManualClock
from headwater.events.codec import Codec
from headwater.events.envelope import RawEvent, Stream
from headwater.events.ids import TimeOrderedIds
from headwater.log.group import GroupCommit, Pending
from headwater.log.port import BatchRefused, BatchRetry, BatchUnknown, Call, Outcome, Placed
from headwater.log.prepare import Limits, Prepared, Preparer
from headwater.log.side import Fence, NeedKey, OpenFence, SideRow, TakeKey, Wake
from headwater.log.write import Write

Answer = Exception | Callable[[Sequence[Call]], Awaitable[Sequence[Outcome]]] | None
preparer = Preparer(Codec(), TimeOrderedIds(ManualClock()), ManualClock(), Limits())
NEVER = 3600.0


def prepared(name: str, *rows: SideRow, size: int = 0, tenant: str = "default") -> Prepared:
    stream = Stream("card", name, tenant)
    return preparer.prepare([Write(stream, [RawEvent("counted", "x" * size)], rows=rows)])


def names(calls: Sequence[Call]) -> str:
    return "".join(call.writes[0].stream.id for call in calls)


class Script:
    """A flush that does what it is told, then succeeds; and what it was handed."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.flushed: list[str] = []
        self.position = 0

    async def __call__(self, calls: Sequence[Call]) -> Sequence[Outcome]:
        self.flushed.append(names(calls))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return await answer(calls)
        return self.placed(calls)

    def placed(self, calls: Sequence[Call]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for _ in calls:
            self.position += 1
            outcomes.append(Placed([self.position], [1], [False]))
        return outcomes


def group(flush: Any, **more: Any) -> GroupCommit:
    options = {"max_bytes": 10**6, "max_calls": 1000, "linger": NEVER, "capacity": 10**9, "random": Random(1)}
    return GroupCommit(flush, **(options | more))


async def answer(pending: Pending) -> Placed | HeadwaterError:
    try:
        return await pending
    except HeadwaterError as error:
        return error


async def submit_all(group: GroupCommit, calls: str | Sequence[Prepared]) -> list[Placed | HeadwaterError]:
    each = [prepared(call) if isinstance(call, str) else call for call in calls]
    return await asyncio.gather(*[answer(group.submit(one, awaited=True)) for one in each])


async def test_calls_that_are_there_together_go_together_in_their_order() -> None:
    script = Script()
    outcomes = await submit_all(group(script), "abc")
    assert script.flushed == ["abc"]
    assert [outcome.positions for outcome in outcomes if isinstance(outcome, Placed)] == [[1], [2], [3]]


async def test_each_outcome_goes_to_its_caller() -> None:
    async def some(calls: Sequence[Call]) -> Sequence[Outcome]:
        return [Placed([1], [1], [False]), KeyTaken("k", "me"), Placed([2], [1], [False])]

    one, two, three = await submit_all(group(Script(some)), "abc")
    assert isinstance(one, Placed)
    assert isinstance(two, KeyTaken)
    assert isinstance(three, Placed)


async def test_an_unknown_outcome_is_sent_again_before_anything_else() -> None:
    script = Script(BatchUnknown(), BatchRetry(), BatchUnknown())
    committing = group(script)
    first = asyncio.create_task(submit_all(committing, "ab"))
    while not script.flushed:
        await asyncio.sleep(0)
    await submit_all(committing, "c")
    await first
    assert script.flushed == ["ab", "ab", "ab", "ab", "c"]


async def test_a_permanent_error_is_bisected_until_its_author_stands_alone() -> None:
    async def flush(calls: Sequence[Call]) -> Sequence[Outcome]:
        script.flushed.append(names(calls))
        if "f" in names(calls):
            raise BatchRefused(StorageRefused("f is bad"))
        return script.placed(calls)

    script = Script()
    outcomes = await submit_all(group(flush), "abcdefgh")
    assert [type(outcome) for outcome in outcomes] == [Placed] * 5 + [StorageRefused] + [Placed] * 2
    assert script.flushed == ["abcdefgh", "abcd", "efgh", "ef", "e", "f", "gh"]
    placed = [outcome.positions[0] for outcome in outcomes if isinstance(outcome, Placed)]
    assert placed == sorted(placed), "halves go in order"


async def test_trouble_of_everybody_is_not_bisected() -> None:
    script = Script(BatchRefused(StorageFull(), everybody=True))
    outcomes = await submit_all(group(script), "abcd")
    assert [type(outcome) for outcome in outcomes] == [StorageFull] * 4
    assert script.flushed == ["abcd"]


async def test_a_refusal_after_an_unknown_outcome_is_unknown() -> None:
    """The first sending may have been written; to say that nothing was would be a lie."""
    script = Script(BatchUnknown(), BatchRefused(StorageRefused()))
    call = prepared("a")
    [outcome] = await submit_all(group(script), [call])
    assert isinstance(outcome, OutcomeUnknown)
    assert outcome.event_ids == tuple(row.event_id for row in call.call.writes[0].rows)
    assert isinstance(outcome.__cause__, StorageRefused)


async def test_a_full_disk_after_an_unknown_outcome_is_waited_out() -> None:
    script = Script(BatchUnknown(), BatchRefused(StorageFull(), everybody=True), None)
    [outcome] = await submit_all(group(script), "a")
    assert isinstance(outcome, Placed)
    assert script.flushed == ["a", "a", "a"]


async def test_a_defect_of_the_backend_leaves_nobody_waiting_and_the_next_goes() -> None:
    committing = group(Script(ZeroDivisionError("a defect")))
    async with asyncio.timeout(5):
        outcomes = await submit_all(committing, "ab")
        assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 2
        [outcome] = await submit_all(committing, "c")
        assert isinstance(outcome, Placed)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ([TakeKey("k", "a")], [TakeKey("k", "b")], False),
        ([NeedKey("k", "a")], [NeedKey("k", "a")], True),
        ([NeedKey("k", "a")], [TakeKey("k", "b")], False),
        ([TakeKey("k", "a")], [NeedKey("k", "a")], False),
        ([TakeKey("k", "a")], [TakeKey("other", "a")], True),
        ([Wake("f"), Fence("f", 1)], [Wake("f"), Fence("f", 1)], True),
        ([Wake("f")], [OpenFence("f")], False),
        ([OpenFence("f")], [Fence("f", 0)], False),
        ([TakeKey("f", "a")], [OpenFence("f")], True),
    ],
)
async def test_no_batch_changes_a_row_that_another_call_of_it_names(
    first: list[SideRow], second: list[SideRow], together: bool
) -> None:
    script = Script()
    await submit_all(group(script), [prepared("a", *first), prepared("b", *second)])
    assert script.flushed == (["ab"] if together else ["a", "b"])


async def test_rows_of_other_tenants_are_others() -> None:
    script = Script()
    rows = TakeKey("k", "me")
    await submit_all(group(script), [prepared("a", rows), prepared("b", rows, tenant="theirs")])
    assert script.flushed == ["ab"]


async def test_no_batch_names_an_id_twice() -> None:
    script = Script()
    one = prepared("a")
    await submit_all(group(script), [one, prepared("b"), one, prepared("c")])
    assert script.flushed == ["ab", "ac"]


async def test_batches_are_bounded_by_calls_and_bytes_but_every_call_goes() -> None:
    script = Script()
    await submit_all(group(script, max_calls=2), "abcde")
    assert script.flushed == ["ab", "cd", "e"]
    script = Script()
    calls = [prepared("a", size=10), prepared("b", size=900), prepared("c", size=10), prepared("d", size=10)]
    await submit_all(group(script, max_bytes=1000), calls)
    assert script.flushed == ["a", "b", "cd"]


async def test_a_call_that_nobody_awaits_starts_no_flush_and_rides_with_the_next() -> None:
    script = Script()
    committing = group(script)
    quiet = [committing.submit(prepared(name), awaited=False) for name in "ab"]
    for _ in range(5):
        await asyncio.sleep(0)
    assert script.flushed == []
    await submit_all(committing, "c")
    assert script.flushed == ["abc"]
    assert [(await one).positions for one in quiet] == [[1], [2]]


async def test_a_call_that_nobody_awaits_goes_after_lingering() -> None:
    done = asyncio.Event()

    async def flush(calls: Sequence[Call]) -> Sequence[Outcome]:
        done.set()
        return Script().placed(calls)

    group(flush, linger=0.001).submit(prepared("a"), awaited=False)
    async with asyncio.timeout(5):
        await done.wait()


async def test_awaiting_a_quiet_call_sends_it() -> None:
    script = Script()
    assert isinstance(await answer(group(script).submit(prepared("a"), awaited=False)), Placed)


async def test_a_call_goes_though_its_caller_was_cancelled() -> None:
    gate = asyncio.Event()

    async def held(calls: Sequence[Call]) -> Sequence[Outcome]:
        await gate.wait()
        return script.placed(calls)

    script = Script(held)
    committing = group(script)
    callers = [asyncio.create_task(submit_all(committing, name)) for name in "ab"]
    while not script.flushed:
        await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    gate.set()
    await submit_all(committing, "c")
    assert "".join(script.flushed) == "abc"


async def test_a_full_queue_makes_newcomers_wait() -> None:
    gate = asyncio.Event()

    async def held(calls: Sequence[Call]) -> Sequence[Outcome]:
        await gate.wait()
        return script.placed(calls)

    script = Script(held)
    committing = group(script, capacity=500, max_calls=1)
    await committing.room()
    callers = asyncio.create_task(submit_all(committing, "abcd"))
    while not script.flushed:
        await asyncio.sleep(0)
    waiting = [asyncio.create_task(committing.room()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert not waiting[1].done()
    gate.set()
    await callers
    await asyncio.gather(*waiting[1:])


async def test_closing_flushes_what_is_queued_and_takes_no_more() -> None:
    script = Script()
    committing = group(script)
    pending = committing.submit(prepared("a"), awaited=False)
    await committing.close(5)
    assert (await pending).positions == [1]
    with pytest.raises(LogClosed):
        committing.submit(prepared("b"), awaited=True)


async def test_closing_without_patience_says_what_is_known_of_each_call() -> None:
    async def stuck(calls: Sequence[Call]) -> Sequence[Outcome]:
        await asyncio.Event().wait()
        raise AssertionError

    committing = group(Script(stuck), max_calls=1, capacity=1)
    first, second = (committing.submit(prepared(name), awaited=True) for name in "ab")
    waiting = asyncio.create_task(committing.room())
    await asyncio.sleep(0)
    await committing.close(0.01)
    assert isinstance(await answer(first), OutcomeUnknown)
    assert isinstance(await answer(second), LogClosed)
    async with asyncio.timeout(5):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_callers_of_a_large_batch_go_on_in_two_halves_while_a_database_that_is_apart_works() -> (
    None
):
    """Each half's next calls are flushed while the other half hears: the two never wait for each other in turns."""
    heard: list[str] = []
    during: list[str] = []

    async def beside(calls: Sequence[Call]) -> Sequence[Outcome]:
        before = len(heard)
        for _ in range(10):
            await asyncio.sleep(0)
        during.append("".join(heard[before:]))
        return script.placed(calls)

    callers = [chr(ord("A") + n) for n in range(20)]
    script = Script(*[beside] * 7)
    one = group(script, apart=True)

    async def caller(name: str) -> None:
        for _ in range(4):
            assert isinstance(await one.submit(prepared(name), awaited=True), Placed)
            heard.append(name)

    await asyncio.gather(*[caller(name) for name in callers])
    first, second = "".join(callers[:10]), "".join(callers[10:])
    assert script.flushed == [first + second, *[first, second] * 3]
    assert during == ["", *[second, first] * 3]
