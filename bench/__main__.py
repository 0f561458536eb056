"""python -m bench log|workflows|projections|server|simulation [--json] [--quick] [--only PATTERN]"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch

from bench import report, simulation
from bench.harness import Case, Result, Scale, new_runner
from bench.log import CASES
from bench.places import Places
from bench.projections import CASES as PROJECTIONS
from bench.server import CASES as SERVER
from bench.workflows import CASES as WORKFLOWS

SUITES = {
    "log": CASES,
    "workflows": WORKFLOWS,
    "projections": PROJECTIONS,
    "server": SERVER,
    "simulation": simulation.CASES,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks of Headwater.")
    parser.add_argument("suite", choices=list(SUITES))
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="smaller samples: under three minutes in all")
    parser.add_argument(
        "--only", metavar="PATTERN", default="*", help="cases to run, such as 'sqlite.append_*'"
    )
    chosen = parser.parse_args(arguments)
    cases = [case for case in SUITES[chosen.suite] if fnmatch(case.key, chosen.only)]
    if not cases:
        print(
            f"No case is called {chosen.only!r}. There are: {' '.join(c.key for c in SUITES[chosen.suite])}",
            file=sys.stderr,
        )
        return 2
    results = run(cases, Scale.quick() if chosen.quick else Scale.full())
    print(report.as_json(results) if chosen.json else report.as_table(results))
    return 1 if any(result.error for result in results.values()) else 0


def run(cases: Sequence[Case], scale: Scale) -> dict[str, Result]:
    """Each case with a fresh database and event loop; one that fails says so and the others go on."""
    results: dict[str, Result] = {}
    with Places() as places:
        for case in cases:
            print(f"{case.key} ...", file=sys.stderr, flush=True)
            try:
                with new_runner() as runner:
                    results[case.key] = runner.run(case.measure(places, scale))
            except Exception as error:  # noqa: BLE001  (the other cases go on)
                results[case.key] = Result.failed(case, error)
    return results


if __name__ == "__main__":
    sys.exit(main())
