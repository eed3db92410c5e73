"""Many cases of the fault matrix, chosen by a seed: how many were tried, how they ended, what was broken.

    python -m event_detection_pipeline_tests.faults --cases 500 --seed 1
    python -m event_detection_pipeline_tests.faults --operation scan --fault "killed anytime" --seed 17 --cases 1

Exit code 1 if a promise was broken. A case is repeated by its seed, its operation and its fault.
"""

import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from event_detection_pipeline_tests.faults.faults import FAULTS
from event_detection_pipeline_tests.faults.operations import OPERATIONS
from event_detection_pipeline_tests.faults.runner import cases, matrix, summary


def main() -> int:
    options = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=int, default=500)
    options.add_argument("--seed", type=int, default=1, help="of the first case; each other one has the next")
    options.add_argument("--operation", choices=OPERATIONS)
    options.add_argument("--fault", choices=FAULTS)
    chosen = options.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder, matrix(Path(folder)) as place:
        for operation, fault, seed in cases(chosen.cases, chosen.seed, chosen.operation, chosen.fault):
            result = place.run(operation, fault, seed)
            results.append(result)
            for violation in result.violations:
                print(f"seed {seed}, {operation.name}, {fault.name}: {violation}", flush=True)
            if len(results) % 50 == 0:
                print(f"{len(results)} cases", file=sys.stderr, flush=True)
    print(summary(results))
    return 1 if any(result.violations for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
