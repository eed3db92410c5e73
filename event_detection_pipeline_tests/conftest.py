"""Real parts for all tests: a MongoDB wire server in this process, a fresh database for each test."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before anything of Hugging Face is imported: no test asks the hub.
os.environ["HF_HUB_OFFLINE"] = "1"

# Of several processes (`make test`) each has a core to itself.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import hypothesis
import pytest
from filelock import FileLock
from pymongo.database import Database
from secantus import SecantusDBServer

from event_detection_pipeline.chronicle.database import connect

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

if TYPE_CHECKING:
    from event_detection_pipeline.adapters.whisper import Whisper


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that lives as long as the test session: $MONGODB_TEST_URI, or an embedded one."""
    if uri := os.environ.get("MONGODB_TEST_URI"):
        yield uri
        return
    with SecantusDBServer(storage_path=str(tmp_path_factory.mktemp("mongodb"))) as server:
        yield server.uri


@pytest.fixture
def database(mongodb_uri: str) -> Iterator[Database[dict[str, Any]]]:
    """An empty database."""
    database = connect(mongodb_uri, f"test_{uuid.uuid4().hex}")
    yield database
    database.client.drop_database(database.name)
    database.client.close()


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real pretrained Whisper, tiny.en, which all processes of a test session share."""
    from event_detection_pipeline.demo.base_model import ensure_base_model

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # a worker's own lies in that of the session
    with FileLock(folder / "whisper.lock"):
        return ensure_base_model(folder / "models" / "whisper-tiny.en")


@pytest.fixture(scope="session")
def whisper(base_model: Path) -> "Whisper":
    """Whisper tiny.en in memory, for tests that leave it as it is."""
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.whisper import load_whisper

    return load_whisper(str(base_model), choose_compute("cpu"))
