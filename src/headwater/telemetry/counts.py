"""Counts and times, kept as plain numbers and written as Prometheus reads them.

Counting costs a dictionary's entry and no lock: a worker counts on its event loop alone. Nothing is kept per run or per
event, and labels hold names of code only, so that what is kept stays small.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

BOUNDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
"""Seconds, for a histogram of anything from a query to a call of a model."""

Labels = tuple[str, ...]
MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Family:
    """What one name stands for."""

    name: str
    about: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: Labels = ()


class Counter:
    """Numbers that only rise, by their labels' values."""

    def __init__(self, name: str, about: str, *labels: str) -> None:
        self.family = Family(name, about, "counter", labels)
        self._values: dict[Labels, float] = {}

    def add(self, *labels: str, by: float = 1) -> None:
        self._values[labels] = self._values.get(labels, 0) + by

    def lines(self) -> Iterator[str]:
        yield from gauge_lines(self.family, self._values)


class Histogram:
    """How long things took, by their labels' values."""

    def __init__(self, name: str, about: str, *labels: str) -> None:
        self.family = Family(name, about, "histogram", labels)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, seconds: float, *labels: str) -> None:
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(BOUNDS) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(BOUNDS, seconds)] += 1
        self._sums[labels] += seconds

    def lines(self) -> Iterator[str]:
        yield from _head(self.family)
        name = self.family.name
        for labels, counts in self._counts.items():
            told = list(zip(self.family.labels, labels, strict=True))
            total = 0
            for bound, count in zip([*map(str, BOUNDS), "+Inf"], counts, strict=True):
                total += count
                yield f"{name}_bucket{_labelled([*told, ('le', bound)])} {total}"
            yield f"{name}_sum{_labelled(told)} {self._sums[labels]}"
            yield f"{name}_count{_labelled(told)} {total}"


def gauge_lines(family: Family, values: Mapping[Labels, float]) -> Iterator[str]:
    """Values that are known when they are asked for."""
    yield from _head(family)
    for labels, value in values.items():
        yield f"{family.name}{_labelled(zip(family.labels, labels, strict=True))} {value:g}"


def together(texts: Mapping[str, str]) -> str:
    """What several processes tell, in one text: each line under the name of its process."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for process, text in texts.items():
        family = ""
        for line in text.splitlines():
            if line.startswith("#"):
                family = line.split(" ")[2]
                heads.setdefault(family, [])
                if line not in heads[family]:
                    heads[family].append(line)
            elif line:
                name, _, value = line.rpartition(" ")
                bare, brace, labels = name.partition("{")
                mine = f'{bare}{{process="{process}"' + (f",{labels}" if brace else "}")
                samples.setdefault(family, []).append(f"{mine} {value}")
    return "".join(f"{line}\n" for family in heads for line in [*heads[family], *samples.get(family, ())])


def _head(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.about}"
    yield f"# TYPE {family.name} {family.kind}"


def _labelled(labels: Iterable[tuple[str, str]]) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inner}}}" if inner else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
