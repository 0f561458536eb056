"""Headwater's pytest plugin: only the names of its fixtures, so that a project which does not use them pays nothing.

It stands beside the package and not in it, because importing any part of `headwater` imports its public API. What the
fixtures do is in `headwater.testing.plugin`, imported by the first test that asks.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

if TYPE_CHECKING:
    from headwater import Event, Log
    from headwater.testing.plugin import VirtualTime

T = TypeVar("T")
_MARKER = "headwater_time"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{_MARKER}: run this async test in virtual time, where a sleep of days takes none."
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and item.get_closest_marker(_MARKER) is not None:
        item.fixturenames.append("hw_time")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run a marked async test in virtual time, whichever plugin would have run it."""
    if pyfuncitem.get_closest_marker(_MARKER) is None:
        return (yield)
    from headwater.testing.plugin import run_instead

    with run_instead(pyfuncitem, cast("VirtualTime", pyfuncitem.funcargs["hw_time"])):
        return (yield)


@pytest.fixture
def hw_time() -> Generator[VirtualTime]:
    """This test's virtual time: `hw_time.now()`, `hw_time.elapsed`."""
    from headwater.testing.plugin import VirtualTime

    with VirtualTime() as time:
        yield time


@pytest.fixture
def hw_run(hw_time: VirtualTime) -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs a coroutine in virtual time, from a test that is not async."""
    return hw_time.run


@pytest.fixture
def hw_models(request: pytest.FixtureRequest) -> list[type[Event]]:
    """The event models that `hw_log` reads back: all that are imported. Override it to say which."""
    from headwater.testing.plugin import imported_models

    return imported_models(cast(Any, request).module)


@pytest.fixture
def hw_log(hw_time: VirtualTime, hw_models: list[type[Event]]) -> Log:
    """An open log in memory, of this test alone. In virtual time its clock is that time's."""
    from headwater.testing.plugin import open_memory_log

    return open_memory_log(hw_time, hw_models)
