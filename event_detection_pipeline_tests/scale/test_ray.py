"""A scan in shards on a Ray cluster of two nodes, one of which dies in the middle of it."""

import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pymongo.database import Database

from event_detection_pipeline.adapters.seal import seal
from event_detection_pipeline.adapters.store import AdapterVersion, open_store
from event_detection_pipeline.chronicle.database import EVENT_SCAN_LEASES, EVENT_SCANS, ensure_indexes
from event_detection_pipeline.config import load_settings
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.random_adapter import random_adapter
from event_detection_pipeline_tests.scale.conftest import CHIME
from event_detection_pipeline_tests.sounds import encode, tone

pytestmark = pytest.mark.scale

CLUSTER = """\
[adapters]
url = "file://{folder}/shared"
[scan]
shards = 2
batch_size = 1
[cluster]
executor = "ray"
cpus = 1
gpus = 0
memory_gb = 0.5
url = "file://{folder}/steps"
"""
INSTANCE = Path(__file__).parents[2] / "dagster.yaml"
MATERIALIZE = ["-m", "dagster", "asset", "materialize", "--select", "anomaly_flags"]
CONVERSATIONS = 32
PATIENCE_SECONDS = 1200


def scanned(database: Database[dict[str, Any]]) -> dict[str, datetime]:
    return {found["conversation_id"]: found["scanned_at"] for found in database[EVENT_SCANS].find()}


def add_conversations(database: Database[dict[str, Any]]) -> set[str]:
    ensure_indexes(database)
    audio = encode(tone(10.0))
    chunks = [{"chunk_index": index, "audio_data": audio, "duration": 10.0} for index in range(6)]
    # Each call adds ids to the documents it inserts.
    return {add_conversation(database, chunks=[dict(chunk) for chunk in chunks]) for _ in range(CONVERSATIONS)}


def test_what_a_dead_node_had_in_work_is_scanned_by_the_other_and_nothing_twice(
    database: Database[dict[str, Any]], base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from event_detection_pipeline_tests.scale.ray_cluster import ray_cluster

    config, home, log = tmp_path / "event_detection.toml", tmp_path / "dagster", tmp_path / "run.log"
    config.write_text((CHIME + CLUSTER).format(folder=tmp_path.as_posix(), base_model=base_model.as_posix()))
    home.mkdir()
    shutil.copy(INSTANCE, home)
    host, port = database.client.address or ("", 0)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # a step is the command `dagster`
        "DAGSTER_HOME": str(home),
        "EVENT_DETECTION_CONFIG": str(config),
        "MONGODB_URI": f"mongodb://{host}:{port}",
        "MONGODB_DATABASE": database.name,
    }
    monkeypatch.setenv("EVENT_DETECTION_CONFIG", str(config))
    store = open_store(load_settings(data_dir=tmp_path / "where it was trained"))
    seal(random_adapter(store.root / "chime_v1", base_model))
    store.promote(AdapterVersion("chime", 1), by="a test", reason="to scan with")
    ids = add_conversations(database)
    disks = [tmp_path / "first", tmp_path / "second"]

    with ray_cluster([environment | {"EVENT_DETECTION_DATA_DIR": str(disk)} for disk in disks]) as (address, nodes):
        run = subprocess.Popen(
            [sys.executable, *MATERIALIZE, "-m", "event_detection_pipeline.definitions"],
            env=os.environ | environment | {"RAY_ADDRESS": address, "EVENT_DETECTION_DATA_DIR": str(tmp_path / "run")},
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (
                len(database[EVENT_SCAN_LEASES].distinct("owner", {"owner": {"$ne": None}})) < 2
                or len(scanned(database)) < 4
            ):
                assert run.poll() is None and time.monotonic() < deadline, log.read_text()[-4000:]
                time.sleep(0.2)
            nodes[1].kill()
            done_before = scanned(database)
            assert run.wait(PATIENCE_SECONDS) == 0, log.read_text()[-4000:]
        finally:
            run.kill()

    done = scanned(database)
    assert len(done_before) < len(ids) == len(done)
    assert done.items() >= done_before.items()
    assert database[EVENT_SCAN_LEASES].count_documents({}) == 0
    # Each had its adapter from the shared store; the run's own process loaded none.
    assert [(disk / "adapters" / "chime_v1").is_dir() for disk in (*disks, tmp_path / "run")] == [True, True, False]
    assert retried(home) == ["scan_shard"]


def retried(home: Path) -> list[str]:
    """The steps of the one run that were tried again."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY)
        return [str(event.step_key).split(".")[-1].split("[")[0] for event in events]
