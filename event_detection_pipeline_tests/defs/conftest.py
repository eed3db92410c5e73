"""Dagster for a test: an instance without a past, and the test's database as a resource."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from pymongo.database import Database

from event_detection_pipeline.defs.resources import MongoResource


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def mongo(mongodb_uri: str, database: Database[dict[str, Any]]) -> MongoResource:
    return MongoResource(uri=mongodb_uri, database=database.name)
