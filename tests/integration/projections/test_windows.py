"""States by key and window: an event that comes late is in the window in which it happened."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from headwater.events.envelope import NewEvent, Stream
from headwater.log.log import Log
from headwater.log.write import Write
from headwater.projections.folding import Folding
from headwater.projections.rebuild import live_of
from headwater.projections.states import States
from headwater.projections.stores import Store
from headwater.projections.windows import Windowed
from tests.integration.projections.shop import BY_STREAM, Paid, Spent, customer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_an_event_is_in_the_window_of_its_own_time(log: Log, store: Store) -> None:
    window = Windowed(timedelta(hours=1), key=customer)
    per_hour = replace(BY_STREAM, name="per_hour", key=window)
    for minutes, cents in ((10, 1), (70, 2), (20, 4)):
        event = NewEvent(
            event=Paid(customer="ann", cents=cents), occurred_at=NOON + timedelta(minutes=minutes)
        )
        await log.append(Write(Stream("order", f"o-{minutes}"), [event]))
    folding = Folding(log, per_hour, store, "one", lease=30)
    await folding.take((await live_of(store, per_hour)).generation)
    while await folding.step():
        pass
    states = States(log, per_hour, store)
    assert await states.state(window.of("ann", NOON)) == Spent(cents=5, events=2)
    assert await states.state(window.of("ann", NOON + timedelta(hours=1))) == Spent(cents=2, events=1)
