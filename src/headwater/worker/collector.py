"""Python's cyclic garbage collector, set for a process that executes runs.

A worker makes many small objects that live for a few milliseconds and few cycles. With the interpreter's default the
collector looks at all of them, several hundred times a second; that was a quarter of a worker's time. What was imported
is put aside, and the young are looked at less often.
"""

from __future__ import annotations

import gc


def calm_collector() -> None:
    """For `headwater worker` and `app.run`; a program that embeds a worker may call it once all is imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
