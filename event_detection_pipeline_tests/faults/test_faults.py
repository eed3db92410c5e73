"""Every fault meets every operation once; `make faults` tries hundreds of cases more."""

from collections.abc import Iterator

import pytest

from event_detection_pipeline_tests.faults.__main__ import main
from event_detection_pipeline_tests.faults.faults import FAULTS
from event_detection_pipeline_tests.faults.operations import OPERATIONS
from event_detection_pipeline_tests.faults.runner import Matrix, applies, matrix

# What loads a model, or exports first, takes seconds: of it only what nothing else shows. A killed training has tests
# of its own.
_FAULTS_OF = {
    "scan": (
        "killed anytime",
        "killed with the clock ahead",
        "database restarted",
        "saved by Chronicle",
        "answered meanwhile",
    ),
    "training": (),
    "forget": ("killed between changes", "disk full", "two at once", "database killed"),
}
PAIRS = [
    (operation.name, fault.name)
    for operation in OPERATIONS.values()
    for fault in FAULTS.values()
    if applies(operation, fault) and fault.name in _FAULTS_OF.get(operation.name, FAULTS)
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    with matrix(tmp_path_factory.mktemp("faults")) as place:
        yield place


@pytest.mark.parametrize(("operation", "fault"), PAIRS)
def test_no_fault_breaks_a_promise(place: Matrix, operation: str, fault: str) -> None:
    result = place.run(OPERATIONS[operation], FAULTS[fault], seed=1)
    assert result.violations == ()


def test_a_fault_that_cannot_meet_the_operation_is_an_error_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--operation", "promotion", "--fault", "database down"])
    assert "promotion cannot meet the fault 'database down'" in capsys.readouterr().err
