"""What an engine counts of its work."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.telemetry.counts import Counter, Histogram


class Counts:
    """The counts of one engine, since it began."""

    def __init__(self) -> None:
        self.claimed = Counter("headwater_runs_claimed_total", "Runs that this worker has taken up.")
        self.ended = Counter(
            "headwater_runs_ended_total", "Runs that have ended or were held here, by how.", "workflow", "how"
        )
        self.seconds = Histogram(
            "headwater_step_seconds", "How long attempts of steps took, by how they ended.", "step", "how"
        )

    def lines(self) -> Iterator[str]:
        for family in (self.claimed, self.ended, self.seconds):
            yield from family.lines()
