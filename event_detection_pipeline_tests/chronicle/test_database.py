"""Connecting: a reachable server, and messages for people when there is none."""

from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from event_detection_pipeline.chronicle.database import ChronicleUnavailable, connect, ensure_indexes


def test_an_unreachable_server_is_named_without_its_credentials():
    with pytest.raises(ChronicleUnavailable) as raised:
        connect("mongodb://me:very-secret@127.0.0.1:9/?authSource=admin", "chronicle", timeout_seconds=0.2)
    assert "127.0.0.1:9" in str(raised.value)
    assert "very-secret" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("uri", ["mongodb://me:very-secret/@host", "http://very-secret", "", "mongodb://h:very-secret"])
def test_a_uri_that_is_none_is_not_repeated(uri: str):
    with pytest.raises(ChronicleUnavailable) as raised:
        connect(uri, "chronicle", timeout_seconds=0.2)
    assert "very-secret" not in str(raised.value)


def test_one_scan_and_one_review_for_each_version_and_event(database: Database[dict[str, Any]]):
    ensure_indexes(database)
    ensure_indexes(database)
    for collection in ("event_scans", "event_reviews"):
        key = {"conversation_id": "c", "version_id": "v", "event": "sneeze"}
        database[collection].insert_one(dict(key))
        with pytest.raises(DuplicateKeyError):
            database[collection].insert_one(dict(key))
        database[collection].insert_one(key | {"event": "doorbell"})


def test_flags_and_deleted_conversations_are_found_without_reading_the_others(database: Database[dict[str, Any]]):
    ensure_indexes(database)
    conversations = database["conversations"]
    version = {"version_id": "v"}
    conversations.insert_many(
        [{"conversation_id": str(number), "transcript_versions": [version]} for number in range(50)]
        + [{"conversation_id": "flagged", "transcript_versions": [version | {"maybe_anomaly": "verified"}]}]
        + [{"conversation_id": "gone", "deleted": True}]
    )
    for query, found in (({"transcript_versions.maybe_anomaly": "verified"}, "flagged"), ({"deleted": True}, "gone")):
        cursor = conversations.find(query)
        assert [document["conversation_id"] for document in cursor.clone()] == [found]
        assert "IXSCAN" in str(cursor.explain()["queryPlanner"]["winningPlan"])
