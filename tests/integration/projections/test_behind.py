"""What is behind is not wrong."""

from headwater.log.log import Log
from headwater.projections.folding import Folding
from headwater.projections.rebuild import live_of, verify
from headwater.projections.stores import Key, Store
from tests.integration.projections.shop import BY_STREAM, pay


async def test_a_key_that_live_states_have_not_come_to_is_no_difference(log: Log, store: Store) -> None:
    await pay(log, "a", 1)
    folding = Folding(log, BY_STREAM, store, "one")
    await folding.take((await live_of(store, BY_STREAM)).generation)
    assert await folding.step()
    await pay(log, "b", 2)
    assert (await verify(log, BY_STREAM, store)).different == ()
    assert folding.at is not None
    folding.at = await store.save(folding.at, 2, [])  # it says that it has come there, and lacks it
    await folding.release()
    assert (await verify(log, BY_STREAM, store)).different == (Key("default", "order/b"),)
