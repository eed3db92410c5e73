"""Many cases of the fault matrix, chosen by a seed: how many were tried, how they ended, what was broken.

    python -m event_detection_pipeline_tests.faults --cases 500 --seed 1
    python -m event_detection_pipeline_tests.faults --hours 8 --seed 1000
    python -m event_detection_pipeline_tests.faults --every-change --operation answer --seed 0
    python -m event_detection_pipeline_tests.faults --operation scan --fault "killed anytime" --seed 17 --cases 1

Exit code 1 if a promise was broken. A case is repeated by its seed, its operation and its fault.
"""

import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from pathlib import Path

from event_detection_pipeline_tests.faults.faults import FAULTS
from event_detection_pipeline_tests.faults.operations import OPERATIONS
from event_detection_pipeline_tests.faults.runner import Matrix, Result, applies, cases, matrix, summary


def main(arguments: Sequence[str] | None = None) -> int:
    options = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    how_long = options.add_mutually_exclusive_group()
    how_long.add_argument("--cases", type=int, default=500)
    how_long.add_argument("--hours", type=float, help="instead of a number of cases")
    how_long.add_argument(
        "--every-change", action="store_true", help="kill before each single change, one after another"
    )
    options.add_argument("--seed", type=int, default=1, help="of the first case; each other one has the next")
    options.add_argument("--operation", choices=OPERATIONS)
    options.add_argument("--fault", choices=FAULTS)
    chosen = options.parse_args(arguments)
    if chosen.operation and chosen.fault and not applies(OPERATIONS[chosen.operation], FAULTS[chosen.fault]):
        options.error(f"{chosen.operation} cannot meet the fault {chosen.fault!r}")
    results = []
    with tempfile.TemporaryDirectory() as folder, matrix(Path(folder)) as place:
        for result in _results(place, chosen):
            results.append(result)
            for violation in result.violations:
                print(f"seed {result.seed}, {result.operation}, {result.fault}: {violation}", flush=True)
            if len(results) % 50 == 0:
                print(f"{len(results)} cases", file=sys.stderr, flush=True)
    print(summary(results))
    return 1 if any(result.violations for result in results) else 0


def _results(place: Matrix, chosen: Namespace) -> Iterator[Result]:
    if chosen.every_change:
        for operation in OPERATIONS.values():
            if chosen.operation in (None, operation.name):
                yield from place.sweep(operation, chosen.seed)
        return
    tried = cases(chosen.seed, chosen.operation, chosen.fault)
    if chosen.hours is None:
        tried = islice(tried, chosen.cases)
    else:
        end = time.monotonic() + 3600 * chosen.hours
        tried = takewhile(lambda _: time.monotonic() < end, tried)
    for operation, fault, seed in tried:
        yield place.run(operation, fault, seed)


if __name__ == "__main__":
    sys.exit(main())
