"""The benchmarks of projections; one module a group of cases."""

from bench.harness import Case
from bench.projections import fold

CASES: list[Case] = [*fold.CASES]
