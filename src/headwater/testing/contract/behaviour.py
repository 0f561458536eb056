"""How one test of the contract runs: with the abilities it needs, a time limit, and the invariants checked behind it.

Tests are written as coroutines and handed to pytest as plain functions, so that a backend's author needs no plugin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

import pytest

from headwater.testing import invariants
from headwater.testing.contract.site import Ability, Site

C = TypeVar("C")
PATIENCE = 55.0


def behaviour(
    *needs: Ability, checked: bool = True, patience: float | None = None
) -> Callable[[Callable[[C, Site], Coroutine[Any, Any, None]]], Callable[[C, Site], None]]:
    """Make a coroutine a test that needs these abilities; `checked=False` where it checks the log itself."""

    def wrap(test: Callable[[C, Site], Coroutine[Any, Any, None]]) -> Callable[[C, Site], None]:
        @wraps(test)
        def run(self: C, site: Site) -> None:
            require(site, *needs)
            asyncio.run(_bounded(test(self, site), site, checked=checked, patience=patience or PATIENCE))

        return run

    return wrap


def require(site: Site, *needs: Ability) -> None:
    """Skip, with the reason, where the site declares that it lacks an ability."""
    for ability in needs:
        if ability in site.lacks:
            pytest.skip(f"{site.name} has no {ability!r}: {site.lacks[ability]}")


async def _bounded(test: Coroutine[Any, Any, None], site: Site, *, checked: bool, patience: float) -> None:
    async with asyncio.timeout(patience):
        await test
        if checked:
            async with site.open() as log:
                await invariants.check(log)
    await invariants.check_idle()
