"""Folding a page makes tens of thousands of objects that live on and no cycles: the collector would look for some in
vain, at a third of the time that a page of many keys takes."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Generator[None]:
    """Without the cycle collector, for a stretch that awaits nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
