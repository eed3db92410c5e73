"""Flags of a withdrawn adapter are taken back, unless a person answered or another adapter heard something."""

from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import ChronicleUnavailable, connect
from event_detection_pipeline.scan.pending import HEAD, examine
from event_detection_pipeline.scan.withdraw import withdraw_flags
from event_detection_pipeline_tests.faults.server import Server
from event_detection_pipeline_tests.review.flags import add_flagged, add_scan, version_of

Db = Database[dict[str, Any]]

NOT_WRITABLE_PRIMARY = 10107  # MongoDB's error code


def test_only_unanswered_flags_of_that_adapter_are_taken_back(database: Db) -> None:
    alone, both, other = (add_flagged(database, adapter=adapter) for adapter in ("event_v2", "event_v2", "event_v1"))
    add_scan(database, both, event="doorbell", adapter="doorbell_v1")
    answered = add_flagged(database, adapter="event_v2")
    of_answered = {"conversation_id": answered, "version_id": f"{answered}-v1", "event": "doorbell"}
    database["event_reviews"].insert_one(of_answered | {"answer": "rejected"})
    undone = add_flagged(database, adapter="event_v2")
    of_undone = {"conversation_id": undone, "version_id": f"{undone}-v1", "event": "event"}
    database["event_reviews"].insert_one(of_undone | {"answer": None})
    assert withdraw_flags(database, "event_v2") == 3
    flags = {id_: version_of(database, id_)["maybe_anomaly"] for id_ in (alone, both, other, answered, undone)}
    assert flags == {alone: None, both: True, other: True, answered: True, undone: None}
    left = {(scan["conversation_id"], scan["adapter"]) for scan in database["event_scans"].find()}
    assert left == {(both, "doorbell_v1"), (other, "event_v1"), (answered, "event_v2")}
    assert withdraw_flags(database, "event_v2") == 0


def test_an_answer_in_the_flag_alone_stays(database: Db) -> None:
    conversation = add_flagged(database, adapter="event_v2")
    database["conversations"].update_one({}, {"$set": {"transcript_versions.0.maybe_anomaly": "verified"}})
    withdraw_flags(database, "event_v2")
    assert version_of(database, conversation)["maybe_anomaly"] == "verified"


def test_what_was_taken_back_is_pending_for_the_adapter_before(database: Db) -> None:
    conversation = add_flagged(database, adapter="event_v2")
    withdraw_flags(database, "event_v2")
    head = database["conversations"].find_one({"conversation_id": conversation}, HEAD)
    assert head is not None
    examined = examine(database, [head], ["event_v1"])
    assert [version.conversation_id for version in examined.pending] == [conversation]
    assert examined.lost_flags == {}


def test_a_lost_server_is_waited_for_and_what_is_left_is_taken_back_by_the_same_call(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        database = connect(f"{server.uri}/?directConnection=true&heartbeatFrequencyMS=500", "chronicle")
        conversation = add_flagged(database, adapter="event_v2")
        with (
            server.refusing(["delete"], after=0, code=NOT_WRITABLE_PRIMARY),
            pytest.raises(ChronicleUnavailable, match="not the primary"),
        ):
            withdraw_flags(database, "event_v2")
        assert withdraw_flags(database, "event_v2") == 1
        assert version_of(database, conversation)["maybe_anomaly"] is None
