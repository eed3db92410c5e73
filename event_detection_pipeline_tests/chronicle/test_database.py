"""Connecting: a reachable server, and messages for people when there is none."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, NetworkTimeout, OperationFailure

from event_detection_pipeline.chronicle import database as module
from event_detection_pipeline.chronicle.database import (
    ChronicleUnavailable,
    connect,
    ensure_indexes,
    explain,
    patiently,
)
from event_detection_pipeline_tests.faults.server import Line, Server

Db = Database[dict[str, Any]]

NOT_WRITABLE_PRIMARY = 10107  # MongoDB's error code


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


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [("listCollections", 13, "does not allow the user"), ("ping", 18, "refuses the user or the password")],
)
def test_a_server_that_refuses_a_user_is_not_said_to_be_away(tmp_path: Path, command: str, code: int, told: str):
    with (
        Server(tmp_path) as server,
        server.refusing([command], after=0, code=code),
        pytest.raises(ChronicleUnavailable, match=told) as raised,
    ):
        connect(server.uri, "chronicle")
    assert "does not answer" not in str(raised.value)


def test_a_missing_right_is_named_without_the_whole_command():
    message = 'not authorized on chronicle to execute command { listIndexes: "conversations", lsid: { id: UUID("1") } }'
    told = explain(OperationFailure(message, 13, {"errmsg": message}))
    assert "(listIndexes on conversations)" in told
    assert "lsid" not in told


def test_a_server_that_accepts_and_is_silent_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ChronicleUnavailable, match="does not answer"):
        connect(f"mongodb://127.0.0.1:{silent.getsockname()[1]}", "chronicle", timeout_seconds=0.2)


def test_a_reply_that_never_comes_is_waited_for_no_longer_than_the_uri_says(database: Db):
    with _line_to(database) as line:
        client = connect(f"{line.uri}/?directConnection=true&socketTimeoutMS=300", database.name)
        line.breaks_at = line.messages
        began = time.monotonic()
        with pytest.raises(NetworkTimeout):
            client.command("ping")  # which the driver does not ask again by itself
        assert time.monotonic() - began < 5


def test_a_server_is_waited_for_no_longer_than_the_uri_says():
    began = time.monotonic()
    with pytest.raises(ChronicleUnavailable):
        connect("mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200", "chronicle")
    assert time.monotonic() - began < 5


def test_a_reply_that_never_comes_is_asked_for_again(database: Db, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "REPLY_SECONDS", 0.3)
    with _line_to(database) as line:
        client = connect(f"{line.uri}/?directConnection=true", database.name)
        line.breaks_at = line.messages
        assert patiently(client, lambda: client.command("ping"))["ok"]


def test_a_server_that_takes_no_writes_is_told_from_one_that_goes_away(tmp_path: Path):
    with Server(tmp_path) as server:
        database = connect(f"{server.uri}/?directConnection=true&heartbeatFrequencyMS=500", "chronicle")
        with (
            server.refusing(["insert"], after=0, code=NOT_WRITABLE_PRIMARY),
            pytest.raises(ChronicleUnavailable, match="not the primary"),
        ):
            patiently(database, lambda: database["event_scans"].insert_one({}))


def _line_to(database: Db) -> Line:
    _, port = database.client.address or ("", 0)
    return Line(port, delivers=True, silently=True)


def test_one_scan_and_one_review_for_each_version_and_event(database: Db):
    ensure_indexes(database)
    ensure_indexes(database)
    for collection in ("event_scans", "event_reviews"):
        key = {"conversation_id": "c", "version_id": "v", "event": "sneeze"}
        database[collection].insert_one(dict(key))
        with pytest.raises(DuplicateKeyError):
            database[collection].insert_one(dict(key))
        database[collection].insert_one(key | {"event": "doorbell"})


def test_flags_and_deleted_conversations_are_found_without_reading_the_others(database: Db):
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
