"""The figures of the answers as the UI shows them, and the check that warns."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.config import CONFIG_ENV, Settings, load_settings
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource, SettingsResource
from event_detection_pipeline.defs.review_metrics import review_metrics
from event_detection_pipeline_tests.adapters.stored import add_adapter
from event_detection_pipeline_tests.review.test_metrics import flag_and_answer

Db = Database[dict[str, Any]]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    file = tmp_path / "event_detection.toml"
    file.write_text(f'data_dir = "{(tmp_path / "data").as_posix()}"\n[review]\ndrift_answers = 10\n')
    monkeypatch.setenv(CONFIG_ENV, str(file))
    return load_settings()


def measure(instance: dg.DagsterInstance, mongo: MongoResource) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
    resources = {"settings": SettingsResource(), "store": AdapterStoreResource(), "mongo": mongo}
    result = dg.materialize([review_metrics], instance=instance, resources=resources)
    (materialization,) = result.asset_materializations_for_node("review_metrics")
    (check,) = result.get_asset_check_evaluations()
    return {name: value.value for name, value in materialization.metadata.items()}, check


def test_a_rise_of_false_alarms_of_the_promoted_adapter_warns(
    settings: Settings, database: Db, instance: dg.DagsterInstance, mongo: MongoResource
) -> None:
    store = AdapterStore(settings.adapter_dir)
    store.promote(add_adapter(settings, "event"), by="test", reason="the first")
    for _ in range(10):
        flag_and_answer(database, "accepted")
    calm, check = measure(instance, mongo)
    assert check.passed and check.description == "event_v1: 10 answers, 20 are needed to see a drift"
    assert (calm["flags"], calm["accepted"], calm["rejected"]) == (10, 10, 0)
    for _ in range(8):
        flag_and_answer(database, "rejected")
    for _ in range(2):
        flag_and_answer(database, "accepted")
    risen, check = measure(instance, mongo)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "8 of the last 10 flags were false alarms, 0 of the 10 before" in (check.description or "")
    (row,) = risen["leaderboard"].records
    assert row.data["adapter"] == "event_v1 (promoted)"
    assert row.data["accuracy"].startswith("0.60 (")
    assert Path(risen["CSV"]).is_file() and Path(risen["parquet"]).is_file()
    assert len(risen["false positive rate by week"]) < 100_000


def test_before_the_first_flag_there_is_nothing_to_warn_of(
    settings: Settings, instance: dg.DagsterInstance, mongo: MongoResource
) -> None:
    empty, check = measure(instance, mongo)
    assert check.passed and check.description == "no adapter is promoted"
    assert empty["flags"] == 0
