"""The code location: what Dagster loads, how fast, and that a person can read it."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterVersion
from event_detection_pipeline.chronicle.database import EVENT_REVIEWS
from event_detection_pipeline.defs.resources import AdapterStoreResource
from event_detection_pipeline.defs.schedules import SCHEDULES, hourly_scan
from event_detection_pipeline_tests.household import add_stash_entry

HEAVY = ("torch", "transformers", "peft", "librosa", "datasets", "sklearn", "matplotlib")


def run_python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_loading_definitions_imports_no_heavy_package() -> None:
    code = f"import event_detection_pipeline.definitions, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert run_python(code) == "[]"


def test_domain_code_runs_without_dagster() -> None:
    code = """
import importlib, pkgutil, sys
sys.modules["dagster"] = None
import event_detection_pipeline as package
for module in pkgutil.walk_packages(package.__path__, "event_detection_pipeline."):
    if not module.name.startswith(("event_detection_pipeline.defs", "event_detection_pipeline.definitions")):
        if module.name != "event_detection_pipeline.demo.render_speech":
            importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("event_detection_pipeline.")]) > 80)
"""
    assert run_python(code) == "True"


def test_every_asset_tells_what_it_is() -> None:
    from event_detection_pipeline.definitions import defs

    for spec in defs.resolve_all_asset_specs():
        assert spec.description and len(spec.description) > 40, spec.key
        assert spec.group_name in {"chronicle", "training", "adapters", "detection"}, spec.key
        assert spec.kinds and spec.owners, spec.key


HOURS = {
    "export_training_data": 4,
    "retrain_adapter": 24,
    "retrain_quick": 24,
    "retrain_full": 28,
    "evaluate_only": 24,
    "scan_conversations": 12,
    "full_loop": 40,
}


@pytest.mark.parametrize("job", HOURS)
def test_the_jobs_people_know_exist_and_end_when_they_hang(job: str) -> None:
    from event_detection_pipeline.definitions import defs

    found = defs.resolve_job_def(job)
    assert found.nodes
    assert found.description and len(found.description) > 30
    assert found.tags["dagster/max_runtime"] == str(HOURS[job] * 3600)


def test_a_quick_retraining_is_the_usual_one_in_fewer_epochs() -> None:
    from event_detection_pipeline.definitions import defs

    quick, usual = defs.resolve_job_def("retrain_quick"), defs.resolve_job_def("retrain_adapter")
    assert {node.name for node in quick.nodes} == {node.name for node in usual.nodes}
    assert dg.validate_run_config(quick, quick.run_config)
    assert (quick.run_config or {})["resources"] == {"settings": {"config": {"epochs": 2}}}


def test_schedules_are_the_documented_ones() -> None:
    schedules = {schedule.name: schedule for schedule in SCHEDULES}
    crons = {name: schedule.cron_schedule for name, schedule in schedules.items()}
    assert crons == {
        "nightly_export": "0 2 * * *",
        "weekly_retraining": "0 3 * * 0",
        "hourly_scan": "0 * * * *",
        "weekly_pruning": "30 4 * * 0",
    }
    assert all(schedule.execution_timezone for schedule in schedules.values())
    assert all(schedule.default_status.value == "STOPPED" for schedule in schedules.values())


def test_there_is_no_scan_before_there_is_an_adapter(tmp_path: Path) -> None:
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 1, 4, tzinfo=UTC))
    store = AdapterStoreResource(path=str(tmp_path))
    assert isinstance(hourly_scan(context, store=store), dg.SkipReason)
    (tmp_path / "event_v1").mkdir()
    store.open().promote(AdapterVersion("event", 1), by="a test", reason="the first")
    assert isinstance(hourly_scan(context, store=store), dg.RunRequest)


def test_nightly_exports_are_of_the_events_that_people_gave_enough_for(
    database: Database[dict[str, Any]], mongodb_uri: str, tmp_path: Path
) -> None:
    code = """
from datetime import datetime
import dagster as dg
from event_detection_pipeline.chronicle.database import EVENT_REVIEWS
from event_detection_pipeline.defs.resources import MongoResource
from event_detection_pipeline.defs.schedules import nightly_export
context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 1, 4), resources={"mongo": MongoResource()})
tick = nightly_export(context)
print(tick.skip_message if isinstance(tick, dg.SkipReason) else [request.partition_key for request in tick])
"""
    config = tmp_path / "two.toml"
    config.write_text('min_samples = 3\n[[events]]\nname = "sneeze"\n[[events]]\nname = "doorbell"\n')
    environment = {
        "EVENT_DETECTION_CONFIG": str(config),
        "MONGODB_URI": mongodb_uri,
        "MONGODB_DATABASE": database.name,
    }
    add_stash_entry(database, "c")
    assert run_python(code, **environment) == "1 of the 3 samples that are needed (min_samples)"
    for _ in range(2):
        database[EVENT_REVIEWS].insert_one({"event": "sneeze", "answer": "accepted"})
    assert run_python(code, **environment) == "['sneeze']"


def test_one_event_needs_no_partitions_and_two_events_are_partitions_also_on_schedule(tmp_path: Path) -> None:
    code = """
from datetime import datetime
from event_detection_pipeline.definitions import defs
spec = next(s for s in defs.resolve_all_asset_specs() if s.key.to_user_string() == "candidate_adapter")
print(spec.partitions_def.get_partition_keys() if spec.partitions_def else None)
defs.resolve_job_def("full_loop")
import dagster as dg
from event_detection_pipeline.defs.schedules import weekly_retraining
tick = weekly_retraining.evaluate_tick(dg.build_schedule_context(
    scheduled_execution_time=datetime(2026, 1, 4), repository_def=defs.get_repository_def()
))
print(tick.skip_message or [request.partition_key for request in tick.run_requests])
"""
    one, two, manifests = tmp_path / "one.toml", tmp_path / "two.toml", tmp_path / "manifests"
    one.write_text(f'data_dir = "{tmp_path}"\n[[events]]\nname = "sneeze"\n')
    two.write_text(f'data_dir = "{tmp_path}"\n[[events]]\nname = "sneeze"\n[[events]]\nname = "doorbell"\n')
    assert "there is no manifest to train on yet" in run_python(code, EVENT_DETECTION_CONFIG=str(one))
    manifests.mkdir()
    (manifests / "sneeze.jsonl").touch()
    assert run_python(code, EVENT_DETECTION_CONFIG=str(one)).split("\n") == ["None", "[None]"]
    assert run_python(code, EVENT_DETECTION_CONFIG=str(two)).split("\n") == ["['sneeze', 'doorbell']", "['sneeze']"]
