"""The benchmarks of the log; one module a group of cases."""

from bench.log import append, latency, memory, read, snapshot
from bench.harness import Case

CASES: list[Case] = [*memory.CASES, *append.CASES, *read.CASES, *latency.CASES, *snapshot.CASES]
