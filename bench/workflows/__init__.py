"""The benchmarks of durable workflows; one module a group of cases."""

from bench.harness import Case
from bench.workflows import fanout, histories, latency, recovery, throughput, waiting

CASES: list[Case] = [
    *throughput.CASES,
    *latency.CASES,
    *histories.CASES,
    *recovery.CASES,
    *fanout.CASES,
    *waiting.CASES,
]
