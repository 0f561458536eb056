"""The benchmarks of the server; one module a group of cases."""

from bench.harness import Case
from bench.server import following, listing, starting, telling

CASES: list[Case] = [*starting.CASES, *following.CASES, *listing.CASES, *telling.CASES]
