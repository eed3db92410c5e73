"""When the stash sensor starts a retraining: a pure decision, and what the sensor makes of it."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import TRAINING_STASH
from event_detection_pipeline.chronicle.queries import newest_sample
from event_detection_pipeline.config import AutomationSettings
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource
from event_detection_pipeline.defs.sensors.stash_growth import (
    Asked,
    LastRun,
    Samples,
    decide,
    run_key,
    stash_growth,
)
from event_detection_pipeline.review.answers import record
from event_detection_pipeline.review.reviews import Answer, Said
from event_detection_pipeline_tests.defs.test_definitions import run_python
from event_detection_pipeline_tests.review.flags import add_flagged

RULES = AutomationSettings(retrain_after_new_samples=20, retrain_attempts=3)
FAILED, CANCELED = LastRun("0123456789", canceled=False), LastRun("0123456789", canceled=True)

Train = Callable[..., dg.ExecuteInProcessResult]


def samples(total: int = 70, untrained: int = 20, unasked: int = 20) -> Samples:
    return Samples(total, f"sample-{total}", untrained, unasked)


def test_enough_new_samples_start_a_retraining() -> None:
    assert decide(samples(total=50, untrained=20), None, None, RULES, min_samples=50).attempt == 1


def test_too_few_new_samples_wait() -> None:
    decision = decide(samples(untrained=19), None, None, RULES, min_samples=50)
    assert decision.attempt is None
    assert decision.reason == "19 new samples since the last training, 20 start one"


def test_too_few_samples_for_a_manifest_wait() -> None:
    decision = decide(samples(total=49, untrained=49), None, None, RULES, min_samples=50)
    assert decision.attempt is None
    assert decision.reason == "49 of the 50 samples that are needed (min_samples)"


def test_a_failed_attempt_is_followed_by_another() -> None:
    decision = decide(samples(unasked=0), Asked("sample-70", 1), FAILED, RULES, min_samples=50)
    assert decision.attempt == 2


def test_after_the_last_attempt_it_says_so_and_waits_for_new_material() -> None:
    given_up = decide(samples(unasked=0), Asked("sample-70", 3), FAILED, RULES, min_samples=50)
    assert given_up.attempt is None
    assert given_up.reason == (
        "attempt 3 of 3 failed (run 01234567 says why); 20 more samples start another, or start full_loop by hand"
    )
    assert decide(samples(untrained=40, unasked=20), Asked("sample-70", 3), FAILED, RULES, min_samples=50).attempt == 1


def test_what_a_person_cancelled_is_not_started_again() -> None:
    decision = decide(samples(unasked=5), Asked("sample-65", 1), CANCELED, RULES, min_samples=50)
    assert decision.attempt is None
    assert "cancelled" in decision.reason


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 10), st.integers(1, 50))
def test_the_same_samples_never_get_more_attempts_than_allowed(
    size: int, untrained: int, allowed: int, wanted: int
) -> None:
    rules = AutomationSettings(retrain_after_new_samples=wanted, retrain_attempts=allowed)
    asked, attempts = None, 0
    for _ in range(allowed + 3):
        unasked = 0 if asked else size
        decision = decide(samples(size, min(untrained, size), unasked), asked, FAILED, rules, min_samples=0)
        if decision.attempt is None:
            break
        attempts += 1
        asked = Asked(f"sample-{size}", decision.attempt)
    assert attempts == (allowed if min(untrained, size) >= wanted else 0)


def test_a_key_names_the_samples_and_the_attempt() -> None:
    one_more, another = replace(samples(70), total=71), replace(samples(70), newest="sample-71")
    asked = [(samples(70), 1), (samples(70), 2), (one_more, 1), (another, 1)]
    assert len({run_key("sneeze", *these) for these in asked}) == 4
    assert run_key("sneeze", samples(70), 1) == run_key("sneeze", samples(70), 1)


def fill(database: Database[dict[str, Any]], count: int) -> None:
    database[TRAINING_STASH].insert_many([{"conversation_id": str(number)} for number in range(count)])


def answer(database: Database[dict[str, Any]], count: int, said: Said) -> None:
    """Let people answer so many flags of the event, each in a conversation of its own."""
    for _ in range(count):
        conversation = add_flagged(database, chunks=[])
        to_it = Answer(conversation, f"{conversation}-v1", said, "ada")
        record(database, to_it, configured=["event"], copy_audio=False)


def reason_of(result: dg.SensorResult) -> str:
    assert isinstance(result.skip_reason, dg.SkipReason)
    return result.skip_reason.skip_message or ""


class House:
    """A household whose sensor ticks as the daemon lets it: the cursor of each tick is the next one's."""

    def __init__(self, instance: dg.DagsterInstance, mongo: MongoResource, adapters: Path) -> None:
        self.instance, self.mongo, self.adapters = instance, mongo, adapters
        self.cursor: str | None = None

    def tick(self) -> dg.SensorResult:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = stash_growth(context, mongo=self.mongo, store=AdapterStoreResource(path=str(self.adapters)))
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return result

    def why(self) -> str:
        return reason_of(self.tick())

    def key(self) -> str | None:
        (request,) = self.tick().run_requests or [dg.RunRequest()]
        return request.run_key

    def run(self, key: str, status: dg.DagsterRunStatus) -> str:
        """A run as the daemon would have made it of that request."""
        job = stash_growth_job()
        run = self.instance.create_run_for_job(job, tags={"dagster/run_key": key}, status=status)
        return run.run_id


def stash_growth_job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def full_loop() -> None:
        nothing()

    return full_loop


@pytest.fixture
def house(instance: dg.DagsterInstance, mongo: MongoResource, tmp_path: Path) -> House:
    return House(instance, mongo, tmp_path)


def test_the_first_samples_start_the_first_training(house: House, database: Database[dict[str, Any]]) -> None:
    fill(database, 19)
    assert house.why() == "19 new samples since the last training, 20 start one"
    fill(database, 1)
    assert house.key()


@pytest.mark.parametrize("said", ["accepted", "rejected"])
def test_flags_that_people_answer_start_one_training_after_the_other(
    house: House, train: Train, database: Database[dict[str, Any]], said: Said
) -> None:
    for _ in range(3):
        answer(database, 19, said)
        assert house.why() == "19 new samples since the last training, 20 start one"
        answer(database, 1, said)
        assert house.key()
        train()
        assert house.why() == "0 new samples since the last training, 20 start one"
        time.sleep(1)  # within a second ids of two processes are in no order


def test_a_cursor_of_the_future_as_earlier_releases_left_it_is_replaced(
    house: House, database: Database[dict[str, Any]]
) -> None:
    fill(database, 20)
    house.cursor = json.dumps({"event": {"newest": "ff" * 12, "attempt": 3, "run_key": "stash-event-0-attempt-3"}})
    assert house.key()
    assert json.loads(house.cursor)["event"]["newest"] == newest_sample(database)


@pytest.mark.parametrize("in_two_runs", [False, True])
def test_a_training_started_by_hand_counts_as_training(
    house: House, train: Train, database: Database[dict[str, Any]], in_two_runs: bool
) -> None:
    fill(database, 25)
    if in_two_runs:
        train("training_clips", "training_manifest")
        fill(database, 3)  # came after the export: not trained with
        train("candidate_adapter", "adapter_evaluation")
    else:
        train()
    new = 3 if in_two_runs else 0
    assert house.why() == f"{new} new samples since the last training, 20 start one"
    fill(database, 20)
    assert house.key()


def test_a_nightly_export_is_no_training(house: House, train: Train, database: Database[dict[str, Any]]) -> None:
    fill(database, 10)
    train()
    fill(database, 20)
    train("training_clips", "training_manifest")
    assert house.key()


def test_cleaning_up_what_was_trained_hides_nothing_new(
    house: House, train: Train, database: Database[dict[str, Any]]
) -> None:
    fill(database, 50)
    train()
    database[TRAINING_STASH].delete_many({})
    fill(database, 20)
    assert house.key()


def test_a_run_in_progress_is_waited_for(house: House, database: Database[dict[str, Any]]) -> None:
    fill(database, 30)
    run_id = house.run("weekly", dg.DagsterRunStatus.STARTED)
    result = house.tick()
    assert not result.run_requests
    assert reason_of(result) == f"run {run_id[:8]} is training already"


def test_failed_attempts_get_new_keys_until_there_are_no_more(house: House, database: Database[dict[str, Any]]) -> None:
    fill(database, 30)
    keys = []
    for _ in range(3):
        key = house.key()
        assert key
        keys.append(key)
        run_id = house.run(key, dg.DagsterRunStatus.FAILURE)
    assert len(set(keys)) == 3
    assert house.why() == (
        f"attempt 3 of 3 failed (run {run_id[:8]} says why); 20 more samples start another, or start full_loop by hand"
    )
    fill(database, 20)
    assert house.key() not in keys


def test_the_cursor_moves_only_with_the_request(house: House, database: Database[dict[str, Any]]) -> None:
    fill(database, 15)
    assert json.loads(house.tick().cursor or "") == {}
    fill(database, 5)
    house.tick()
    asked = json.loads(house.cursor or "")
    house.run(asked["event"]["run_key"], dg.DagsterRunStatus.CANCELED)
    fill(database, 5)
    house.tick()
    assert json.loads(house.cursor or "") == asked


def test_turned_on_after_a_training_this_dagster_knows_nothing_of_it_counts_from_now(
    house: House, database: Database[dict[str, Any]]
) -> None:
    (house.adapters / "event_v1").mkdir()
    fill(database, 30)
    assert house.why() == "counting from the 30 samples there are"
    assert house.why() == "0 new samples since the last training, 20 start one"
    fill(database, 20)
    assert house.key()


def test_a_database_that_does_not_answer_is_said_and_changes_nothing(instance: dg.DagsterInstance) -> None:
    nowhere = MongoResource(uri="mongodb://user:hunter2@127.0.0.1:1", timeout_seconds=0.2)
    context = dg.build_sensor_context(instance=instance, cursor='{"event": {"newest": "x", "attempt": 1}}')
    result = stash_growth(context, mongo=nowhere, store=AdapterStoreResource())
    assert isinstance(result, dg.SkipReason)
    assert "does not answer" in (result.skip_message or "")
    assert "hunter2" not in (result.skip_message or "")


TWO_EVENTS = """
import dagster as dg
from event_detection_pipeline.defs.events import EVENT_PARTITIONS
from event_detection_pipeline.defs.lineage import NEWEST_SAMPLE
from event_detection_pipeline.chronicle.queries import newest_sample
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource
from event_detection_pipeline.defs.sensors.stash_growth import stash_growth

mongo = MongoResource()

@dg.asset(partitions_def=EVENT_PARTITIONS)
def training_clips():
    return dg.MaterializeResult(metadata={NEWEST_SAMPLE: newest_sample(mongo.open())})

@dg.asset(partitions_def=EVENT_PARTITIONS, deps=[training_clips])
def training_manifest(): ...

@dg.asset(partitions_def=EVENT_PARTITIONS, deps=[training_manifest])
def candidate_adapter(): ...

@dg.asset(partitions_def=EVENT_PARTITIONS, deps=[candidate_adapter])
def adapter_evaluation(): ...

assets = [training_clips, training_manifest, candidate_adapter, adapter_evaluation]

def run(event, *selection):
    dg.materialize(assets, instance=instance, partition_key=event, selection=selection or None)

with dg.DagsterInstance.ephemeral() as instance:
    {before}
    tick = stash_growth(dg.build_sensor_context(instance=instance), mongo=mongo, store=AdapterStoreResource())
    print([request.partition_key for request in tick.run_requests])
"""


@pytest.fixture
def trained_of_two(database: Database[dict[str, Any]], mongodb_uri: str, tmp_path: Path) -> Callable[..., str]:
    """Which of two events, sneeze and doorbell, the sensor starts a training of, given 25 samples and what was
    before."""
    fill(database, 25)
    config = tmp_path / "two.toml"
    config.write_text('min_samples = 10\n[[events]]\nname = "sneeze"\n[[events]]\nname = "doorbell"\n')
    environment = {"MONGODB_URI": mongodb_uri, "MONGODB_DATABASE": database.name, "EVENT_DETECTION_CONFIG": str(config)}

    def ask(*before: str) -> str:
        return run_python(TWO_EVENTS.replace("{before}", "\n    ".join(before)), **environment)

    return ask


def test_of_two_events_only_the_one_that_was_not_trained_is_trained(trained_of_two: Callable[..., str]) -> None:
    assert trained_of_two('run("sneeze")', 'run("doorbell", training_clips)') == "['doorbell']"


def test_what_another_event_exported_meanwhile_was_not_trained_with(trained_of_two: Callable[..., str]) -> None:
    more_came = 'mongo.open()["training_stash"].insert_many([{"conversation_id": "new"} for _ in range(20)])'
    trained = trained_of_two(
        'run("sneeze", training_clips)', more_came, 'run("doorbell", training_clips)', 'run("sneeze", *assets[1:])'
    )
    assert trained == "['sneeze', 'doorbell']"


def test_a_training_of_one_event_keeps_no_other_from_training(trained_of_two: Callable[..., str]) -> None:
    going_on = 'tags={"dagster/partition": "sneeze"}, status=dg.DagsterRunStatus.STARTED'
    full_loop = "from event_detection_pipeline.definitions import defs; loop = defs.resolve_job_def('full_loop')"
    assert trained_of_two(full_loop, f"instance.create_run_for_job(loop, {going_on})") == "['doorbell']"
