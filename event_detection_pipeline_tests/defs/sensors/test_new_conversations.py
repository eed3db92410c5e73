"""When a scan starts because someone has spoken."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.chronicle.database import CONVERSATIONS
from event_detection_pipeline.defs.jobs import scan_conversations
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource
from event_detection_pipeline.defs.sensors.new_conversations import Seen, decide, new_conversations


def test_a_new_transcript_starts_a_scan() -> None:
    decision = decide([("b", True), ("a", True)], Seen())
    assert decision.seen == Seen("b", [])
    assert decision.reason == "2 new transcripts"


def test_a_conversation_without_a_transcript_waits_for_it() -> None:
    assert decide([("b", False)], Seen("a")).seen is None
    assert decide([("b", False)], Seen("a")).reason == "no new transcript; conversations that wait for theirs: 1"


def test_what_was_unfinished_at_a_request_starts_a_scan_when_it_is_finished() -> None:
    first = decide([("c", True), ("b", False)], Seen("a"))
    assert first.seen == Seen("c", ["b"])
    assert first.seen is not None
    second = decide([("b", True)], first.seen)
    assert second.seen == Seen("c", [])
    assert second.run_key != first.run_key


def speak(database: Database[dict[str, Any]], count: int = 1, **fields: object) -> list[Any]:
    versions = [{"active_transcript_version": "v1"} | fields for _ in range(count)]
    return database[CONVERSATIONS].insert_many(versions).inserted_ids


class House:
    """A household with a promoted adapter, whose sensor ticks as the daemon lets it."""

    def __init__(self, instance: dg.DagsterInstance, mongo: MongoResource, adapters: Path) -> None:
        self.instance, self.mongo, self.adapters = instance, mongo, adapters
        self.cursor: str | None = None

    def tick(self) -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = new_conversations(context, mongo=self.mongo, store=AdapterStoreResource(path=str(self.adapters)))
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        if isinstance(result, dg.SensorResult):
            self.cursor = result.cursor
        return result

    def scans(self) -> bool:
        return isinstance(self.tick(), dg.SensorResult)


@pytest.fixture
def house(instance: dg.DagsterInstance, mongo: MongoResource, tmp_path: Path) -> House:
    (tmp_path / "event_v1").mkdir()
    AdapterStore(tmp_path).promote(AdapterVersion("event", 1), by="a test", reason="the first")
    return House(instance, mongo, tmp_path)


def test_each_conversation_starts_one_scan(house: House, database: Database[dict[str, Any]]) -> None:
    speak(database, 3)
    assert house.scans()
    assert not house.scans()
    speak(database)
    assert house.scans()
    assert not house.scans()


def test_the_transcript_may_come_after_that_of_a_later_conversation(
    house: House, database: Database[dict[str, Any]]
) -> None:
    (slow,) = speak(database, active_transcript_version=None)
    assert not house.scans()
    speak(database)
    assert house.scans()
    assert not house.scans()
    database[CONVERSATIONS].update_one({"_id": slow}, {"$set": {"active_transcript_version": "v1"}})
    assert house.scans()
    assert not house.scans()


def test_deleted_conversations_start_nothing(house: House, database: Database[dict[str, Any]]) -> None:
    speak(database, deleted=True)
    assert not house.scans()


def test_a_scan_in_progress_is_waited_for(house: House, database: Database[dict[str, Any]]) -> None:
    speak(database)
    run = house.instance.create_run_for_job(
        dg.Definitions(jobs=[named(scan_conversations.name)]).resolve_job_def(scan_conversations.name),
        status=dg.DagsterRunStatus.STARTED,
    )
    tick = house.tick()
    assert isinstance(tick, dg.SkipReason)
    assert tick.skip_message == f"run {run.run_id[:8]} is scanning already"
    house.instance.delete_run(run.run_id)
    assert house.scans(), "the conversation was forgotten while it waited"


def named(name: str) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name=name)
    def job() -> None:
        nothing()

    return job


def test_without_a_promoted_adapter_nothing_starts(
    instance: dg.DagsterInstance, mongo: MongoResource, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    speak(database)
    tick = House(instance, mongo, tmp_path).tick()
    assert isinstance(tick, dg.SkipReason)
    assert tick.skip_message == "no adapter is promoted yet, so there is nothing to scan with"
