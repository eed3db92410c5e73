"""When the stash sensor starts a retraining: a pure decision, and what the sensor makes of it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import TRAINING_STASH
from event_detection_pipeline.config import CONFIG_ENV
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource
from event_detection_pipeline.defs.sensors import decide, stash_growth

sizes = st.integers(0, 10_000)


def test_enough_new_samples_start_a_retraining_and_move_the_cursor() -> None:
    decision = decide(stash_size=70, trained_size=50, wanted=20)
    assert decision.retrain
    assert decision.trained_size == 70


def test_too_few_new_samples_wait_and_the_cursor_stays() -> None:
    decision = decide(stash_size=69, trained_size=50, wanted=20)
    assert not decision.retrain
    assert decision.trained_size == 50
    assert decision.reason == "19 new samples since the last training, 20 start one"


def test_after_a_clean_up_only_what_is_added_counts() -> None:
    decision = decide(stash_size=10, trained_size=50, wanted=20)
    assert (decision.retrain, decision.trained_size) == (False, 10)
    assert decide(stash_size=30, trained_size=decision.trained_size, wanted=20).retrain


@given(sizes, sizes, st.integers(1, 100))
def test_the_same_stash_never_starts_two_retrainings(size: int, trained: int, wanted: int) -> None:
    first = decide(size, trained, wanted)
    assert not decide(size, first.trained_size, wanted).retrain


@pytest.mark.parametrize(("trained_before", "starts"), [(False, True), (True, False)])
def test_turned_on_it_trains_only_where_nothing_was_trained_yet(
    database: Database[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trained_before: bool,
    starts: bool,
) -> None:
    (tmp_path / "event_detection.toml").write_text("")
    monkeypatch.setenv(CONFIG_ENV, str(tmp_path / "event_detection.toml"))
    database[TRAINING_STASH].insert_many([{"conversation_id": str(number)} for number in range(30)])
    if trained_before:
        (tmp_path / "event_v1").mkdir()
    host, port = database.client.address or ("", 0)
    tick = stash_growth(
        dg.build_sensor_context(),
        mongo=MongoResource(uri=f"mongodb://{host}:{port}", database=database.name),
        store=AdapterStoreResource(path=str(tmp_path)),
    )
    assert isinstance(tick, dg.SensorResult)
    assert bool(tick.run_requests) == starts
    assert tick.cursor == "30"
