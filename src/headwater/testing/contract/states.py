"""The contract of states that go with an append: written with its events or not at all, and never gone back on."""

from __future__ import annotations

import asyncio

from headwater.errors import FenceLost, PayloadRefused, WrongVersion
from headwater.events.envelope import NewEvent, Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log
from headwater.log.side import Fence, PutState
from headwater.log.write import ANY, Write
from headwater.projections.open import store_for
from headwater.projections.stores import FROM_START, Checkpoint, Key, StateRow
from headwater.testing.contract.behaviour import behaviour
from headwater.testing.contract.facts import ONE, TWO, raw, refused, write
from headwater.testing.contract.site import Site

NAME = "papers"
OTHER = Stream("paper", "one", "theirs")


def put(version: int, state: bytes, stream: Stream = ONE, *, fold: int = 1, name: str = NAME) -> PutState:
    return PutState(name, fold, stream, version, state)


async def in_use(log: Log, *, version: int = 1, name: str = NAME) -> Checkpoint:
    """A generation that is in use and that we fold."""
    store = store_for(log)
    await store.create(name, 1, version, live=True)
    at = await store.take(name, 1, "us", 60_000_000)
    assert at is not None
    return at


async def kept(log: Log, stream: Stream = ONE, *, name: str = NAME) -> StateRow | None:
    key = Key(stream.tenant, f"{stream.type}/{stream.id}")
    return (await store_for(log).load(name, 1, [key])).get(key)


def row(
    position: int, state: bytes | None, parked: int = 0, again: int = 0, stream: Stream = ONE
) -> StateRow:
    return StateRow(
        stream.tenant,
        f"{stream.type}/{stream.id}",
        position,
        state,
        parked,
        "broken" if parked else "",
        again,
    )


class StatesContract:
    @behaviour("states")
    async def test_a_state_goes_with_the_append_that_leads_to_it(self, site: Site) -> None:
        async with site.open() as log:
            await in_use(log)
            await log.append(write(TWO, events=3))
            await log.append(write(ONE, put(2, b"\x00two"), events=2, expect=0))
            assert await kept(log) == row(5, b"\x00two")
            await log.append(write(TWO))
            await log.append(write(ONE, put(3, b"three"), expect=2))
            assert await kept(log) == row(7, b"three")

    @behaviour("states")
    async def test_what_is_refused_leaves_no_state(self, site: Site) -> None:
        async with site.open() as log:
            await in_use(log)
            await log.append(write(ONE, put(1, b"one"), expect=0))
            await refused(WrongVersion, log, write(ONE, put(1, b"other"), expect=0))
            await refused(WrongVersion, log, write(ONE, put(3, b"other"), expect=2))
            await refused(FenceLost, log, write(ONE, put(2, b"other"), Fence("none", 1), expect=1))
            await refused(WrongVersion, log, write(ONE, put(2, b"other"), expect=1), write(TWO, expect=9))
            assert await kept(log) == row(1, b"one")

    @behaviour("states")
    async def test_a_retry_does_not_bring_an_old_state_back(self, site: Site) -> None:
        async with site.open() as log:
            await in_use(log)
            first = NewEvent(event=raw(), id=derived_id(ONE, "first", 0))
            await log.append(Write(ONE, [first], expect=0, rows=[put(1, b"one")]))
            await log.append(write(ONE, put(2, b"two"), expect=1))
            [appended] = await log.append(Write(ONE, [first], expect=0, rows=[put(1, b"one")]))
            assert appended.known == (True,)
            assert await kept(log) == row(2, b"two")

    @behaviour("states")
    async def test_states_of_another_fold_or_of_none_are_left_alone(self, site: Site) -> None:
        async with site.open() as log:
            await log.append(write(ONE, put(1, b"nobody keeps them"), expect=0))
            at = await in_use(log, version=2)
            await store_for(log).save(at, 1, [row(1, b"second fold")])
            await log.append(write(ONE, put(2, b"first fold"), expect=1))
            assert await kept(log) == row(1, b"second fold")
            await log.append(write(ONE, put(3, b"second fold, three", fold=2), expect=2))
            assert await kept(log) == row(3, b"second fold, three")

    @behaviour("states")
    async def test_who_folds_leaves_a_newer_state_alone(self, site: Site) -> None:
        async with site.open() as log:
            at, store = await in_use(log), store_for(log)
            await log.append(write(ONE, events=2), write(TWO))
            await log.append(write(ONE, put(3, b"three"), expect=2))
            at = await store.save(at, 3, [row(2, b"two"), row(3, b"other", stream=TWO)])
            assert await kept(log) == row(4, b"three")
            assert await kept(log, TWO) == row(3, b"other", stream=TWO)
            await store.save(at, 4, [row(4, b"three")])
            assert await kept(log) == row(4, b"three")

    @behaviour("states")
    async def test_a_key_that_is_to_be_folded_again_stays_so(self, site: Site) -> None:
        async with site.open() as log:
            await in_use(log)
            store = store_for(log)
            await log.append(write(ONE, put(1, b"one"), expect=0))
            await store.request(NAME, FROM_START)
            await log.append(write(ONE, put(2, b"two"), expect=1))
            assert await kept(log) == row(2, b"two", again=FROM_START)
            at = await in_use(log)
            await store.save(at, 1, [row(1, b"one, again")])
            assert await kept(log) == row(1, b"one, again")

    @behaviour("states")
    async def test_an_append_frees_a_parked_key(self, site: Site) -> None:
        async with site.open() as log:
            at = await in_use(log)
            await log.append(write(ONE, events=2))
            await store_for(log).save(at, 2, [row(1, b"one", parked=2)])
            await log.append(write(ONE, put(3, b"three"), expect=2))
            assert await kept(log) == row(3, b"three")

    @behaviour("states")
    async def test_projections_and_tenants_do_not_mix(self, site: Site) -> None:
        async with site.open() as log:
            await in_use(log)
            await in_use(log, name="others")
            await log.append(write(ONE, put(1, b"a"), put(1, b"b", name="others"), expect=0))
            await log.append(write(OTHER, put(1, b"c", OTHER), expect=0))
            assert await kept(log) == row(1, b"a")
            assert await kept(log, name="others") == row(1, b"b")
            assert await kept(log, OTHER) == row(2, b"c", stream=OTHER)

    @behaviour("states")
    async def test_many_at_once(self, site: Site) -> None:
        """Side by side and one behind the other, in whatever batches they go."""
        async with site.open() as log:
            await in_use(log)
            streams = [Stream("paper", f"p{n}") for n in range(20)]
            await asyncio.gather(
                *[
                    log.append(write(stream, put(v + 1, b"%d" % v, stream), expect=v))
                    for v in range(3)
                    for stream in streams
                ]
            )
            for stream in streams:
                [*_, last] = [one async for one in log.stream(stream)]
                assert await kept(log, stream) == row(last.position, b"2", stream=stream)

    @behaviour("states")
    async def test_a_state_that_does_not_fit_its_write_is_refused(self, site: Site) -> None:
        async with site.open() as log:
            await in_use(log)
            for wrong in (
                write(ONE, put(1, b"")),
                write(ONE, put(1, b""), expect=ANY),
                write(ONE, put(2, b""), expect=0),
                write(ONE, put(1, b"", TWO), expect=0),
                write(ONE, put(1, b""), expect=0, known="skip"),
                write(ONE, put(0, b""), events=0, expect=0),
                write(ONE, put(1, bytes(2 * 1024 * 1024)), expect=0),
                write(ONE, put(1, b""), put(1, b""), expect=0),
            ):
                await refused(PayloadRefused, log, wrong)
            assert await kept(log) is None
