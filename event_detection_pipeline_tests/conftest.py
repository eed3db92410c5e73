"""Real parts for all tests: a MongoDB wire server in this process, a fresh database for each test."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database
from secantus import SecantusDBServer

from event_detection_pipeline.chronicle.database import connect


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that lives as long as the test session."""
    with SecantusDBServer(storage_path=str(tmp_path_factory.mktemp("mongodb"))) as server:
        yield server.uri


@pytest.fixture
def database(mongodb_uri: str) -> Iterator[Database[dict[str, Any]]]:
    """An empty database."""
    database = connect(mongodb_uri, f"test_{uuid.uuid4().hex}")
    yield database
    database.client.drop_database(database.name)
    database.client.close()
