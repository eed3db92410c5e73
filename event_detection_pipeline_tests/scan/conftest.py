"""Conversations with two versions, and scans that stop where a test wants them to."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import ensure_indexes


@pytest.fixture
def chronicle(database: Database[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """An empty database with its indexes."""
    ensure_indexes(database)
    yield database
