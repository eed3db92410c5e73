"""A scan in shards: steps of their own, which any executor spreads; here Dagster's processes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.chronicle.database import EVENT_SCAN_LEASES, EVENT_SCANS
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.random_adapter import random_adapter

CONFIG = """\
data_dir = "{data}"
base_model = "{base_model}"
device = "cpu"
[[events]]
name = "chime"
[scan]
shards = 2
batch_size = 1
"""


def test_shards_scan_everything_once_in_processes_of_their_own(
    database: Database[dict[str, Any]], mongodb_uri: str, base_model: Path, tmp_path: Path
) -> None:
    store = AdapterStore(tmp_path / "data" / "adapters")
    random_adapter(store.root / "chime_v1", base_model)
    store.promote(AdapterVersion("chime", 1), by="a test", reason="to scan with")
    config = tmp_path / "event_detection.toml"
    config.write_text(CONFIG.format(data=(tmp_path / "data").as_posix(), base_model=base_model.as_posix()))
    ids = {add_conversation(database, seconds=1.0) for _ in range(40)}
    home = tmp_path / "dagster"
    home.mkdir()
    environment = {
        "DAGSTER_HOME": str(home),
        "EVENT_DETECTION_CONFIG": str(config),
        "MONGODB_URI": mongodb_uri,
        "MONGODB_DATABASE": database.name,
    }
    command = ["-m", "dagster", "asset", "materialize", "--select", "anomaly_flags"]
    result = subprocess.run(
        [sys.executable, *command, "-m", "event_detection_pipeline.definitions"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    scans = list(database[EVENT_SCANS].find())
    assert sorted(scan["conversation_id"] for scan in scans) == sorted(ids)
    assert database[EVENT_SCAN_LEASES].count_documents({}) == 0
    with dg.DagsterInstance.from_config(str(home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("anomaly_flags"))
        assert event is not None and event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        run_id = instance.get_runs()[0].run_id
        own_process = [
            record.event_log_entry.step_key
            for record in instance.get_records_for_run(run_id).records
            if record.event_log_entry.dagster_event_type == dg.DagsterEventType.STEP_WORKER_STARTED
        ]
    assert metadata["scanned"].value == len(ids)
    assert sum("scan_shard" in str(step) for step in own_process) == 2
