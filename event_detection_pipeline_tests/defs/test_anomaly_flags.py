"""A scan as the asset runs it, and what it does beside listening."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS
from event_detection_pipeline.config import CONFIG_ENV, load_settings
from event_detection_pipeline.defs.anomaly_flags import anomaly_flags
from event_detection_pipeline.defs.resources import (
    AdapterStoreResource,
    ComputeResource,
    MongoResource,
    SettingsResource,
)
from event_detection_pipeline_tests.random_adapter import random_adapter
from event_detection_pipeline_tests.review.flags import add_flagged, version_of


def test_an_answer_that_chronicle_lost_is_carried_out_again_by_the_scan_that_finds_it(
    database: Database[dict[str, Any]],
    instance: dg.DagsterInstance,
    mongo: MongoResource,
    base_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "event_detection.toml"
    file.write_text(f'data_dir = "{(tmp_path / "data").as_posix()}"\ndevice = "cpu"\n')
    monkeypatch.setenv(CONFIG_ENV, str(file))
    store = AdapterStore(load_settings().adapter_dir)
    random_adapter(store.root / "event_v1", base_model)
    store.promote(AdapterVersion("event", 1), by="a test", reason="to scan with")
    lost = add_flagged(database, chunks=[])
    key = {"conversation_id": lost, "version_id": f"{lost}-v1", "event": "event"}
    said = {"answer": "accepted", "reviewed_at": datetime.now(UTC), "revision": 1, "settled": True, "history": []}
    database[EVENT_REVIEWS].insert_one(key | said)
    database[CONVERSATIONS].update_one({}, {"$set": {"transcript_versions.0.maybe_anomaly": None}})
    resources = {
        "settings": SettingsResource(),
        "mongo": mongo,
        "compute": ComputeResource(device="cpu"),
        "store": AdapterStoreResource(),
    }
    assert dg.materialize([anomaly_flags], instance=instance, resources=resources).success
    assert version_of(database, lost)["maybe_anomaly"] == "verified"
