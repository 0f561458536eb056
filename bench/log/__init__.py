"""The benchmarks of the log; one module a group of cases."""

from bench.harness import Case
from bench.log import append, latency, memory, read, snapshot

CASES: list[Case] = [*memory.CASES, *append.CASES, *read.CASES, *latency.CASES, *snapshot.CASES]
