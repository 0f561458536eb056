"""The benchmarks of projections; one module a group of cases."""

from bench.harness import Case
from bench.projections import fold, hot, inline, lag, rebuilding

CASES: list[Case] = [*fold.CASES, *rebuilding.CASES, *hot.CASES, *lag.CASES, *inline.CASES]
