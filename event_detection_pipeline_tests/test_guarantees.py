"""docs/guarantees.md names tests, operations and faults that exist."""

import re
from pathlib import Path

import pytest

from event_detection_pipeline_tests.faults.faults import FAULTS
from event_detection_pipeline_tests.faults.operations import OPERATIONS

TESTS = Path(__file__).parent
TEXT = (TESTS.parent / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`((?:[\w/]+/)?\w+\.py)(?:::(test_\w+))?`", TEXT)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_what_the_table_names_is_there(file: str, test: str) -> None:
    assert (f"def {test}(" if test else "def ") in (TESTS / file).read_text(encoding="utf-8")


def test_the_table_names_every_operation_and_fault_of_the_matrix() -> None:
    cells = " ".join(re.findall(r"fault matrix, ([^;|:]*)", TEXT))
    named = set(re.findall(r"`([^`/]+)`", cells))
    assert named == OPERATIONS.keys() | FAULTS.keys()


def test_the_table_names_tests() -> None:
    assert len(NAMED) > 15
