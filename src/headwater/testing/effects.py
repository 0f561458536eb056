"""The world outside, as far as a test needs it: it remembers what steps have done to it, and by which key.

    effects = Effects()

    @app.step
    async def charge(order: Order) -> Receipt:
        effects.add(f"charge {order.id}", key=current_step().key)

A second effect with the same key does nothing, as with a provider that takes idempotency keys. One without a key
happens every time.
"""

from __future__ import annotations

from collections import Counter


class Effects:
    """What has happened outside."""

    def __init__(self) -> None:
        self._keyed: set[tuple[str, str]] = set()
        self._unkeyed: Counter[str] = Counter()

    def add(self, what: str, *, key: str | None = None) -> None:
        """Something happens; with a key, once."""
        if key is None:
            self._unkeyed[what] += 1
        else:
            self._keyed.add((what, key))

    def clear(self) -> None:
        self._keyed.clear()
        self._unkeyed.clear()

    def count(self) -> dict[str, int]:
        """How often each has happened."""
        return dict(sorted((Counter(what for what, _ in self._keyed) + self._unkeyed).items()))
