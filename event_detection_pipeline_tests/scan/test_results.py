"""Flags and scores are written, and no person's answer is ever overwritten."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, EVENT_SCANS, ensure_indexes
from event_detection_pipeline.scan.pending import PendingVersion, iter_pending
from event_detection_pipeline.scan.results import VersionScore, reassert_flags, write_results

Db = Database[dict[str, Any]]


def save_conversation(database: Db, conversation_id: str, flag: object = None, **fields: object) -> None:
    old = {"version_id": "old", "maybe_anomaly": None, "transcript": "first draft"}
    active = {"version_id": "v1", "maybe_anomaly": flag, "transcript": "good morning"}
    document = {
        "conversation_id": conversation_id,
        "active_transcript_version": "v1",
        "transcript_versions": [old, active],
    }
    database[CONVERSATIONS].insert_one(document | fields)


def flags_of(database: Db, conversation_id: str) -> list[object]:
    document = database[CONVERSATIONS].find_one({"conversation_id": conversation_id})
    assert document is not None
    return [version.get("maybe_anomaly") for version in document["transcript_versions"]]


def heard(
    conversation_id: str, score: float | None, *, event: str = "chime", adapter: str = "chime_v1"
) -> VersionScore:
    return VersionScore(conversation_id, "v1", event, adapter, score, threshold=0.5, time=1.5)


@pytest.fixture
def chronicle(database: Db) -> Iterator[Db]:
    ensure_indexes(database)
    yield database


def test_a_loud_score_flags_the_active_version_and_no_other(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    written = write_results(chronicle, [heard("a", 0.9)])
    assert (written.flags, written.kept_back) == (1, 0)
    assert flags_of(chronicle, "a") == [None, True]


def test_a_quiet_score_says_looked_at(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    write_results(chronicle, [heard("a", 0.1)])
    assert flags_of(chronicle, "a") == [None, False]
    scan = chronicle[EVENT_SCANS].find_one({"conversation_id": "a"})
    assert scan is not None
    assert (scan["score"], scan["flagged"], scan["adapter"], scan["time"]) == (0.1, False, "chime_v1", 1.5)


@pytest.mark.parametrize("answer", ["verified", "rejected"])
def test_an_answer_that_came_while_the_scan_listened_stays(chronicle: Db, answer: str) -> None:
    save_conversation(chronicle, "a", flag=answer)
    written = write_results(chronicle, [heard("a", 0.9)])
    assert (written.flags, written.kept_back) == (0, 1)
    assert flags_of(chronicle, "a") == [None, answer]


def test_an_answer_that_chronicle_overwrote_still_counts(chronicle: Db) -> None:
    save_conversation(chronicle, "a", flag=None)
    chronicle[EVENT_REVIEWS].insert_one(
        {"conversation_id": "a", "version_id": "v1", "event": "chime", "answer": "accepted"}
    )
    assert write_results(chronicle, [heard("a", 0.9)]).kept_back == 1
    assert flags_of(chronicle, "a") == [None, None]


def test_a_conversation_deleted_meanwhile_is_not_flagged(chronicle: Db) -> None:
    save_conversation(chronicle, "a", deleted=True)
    assert write_results(chronicle, [heard("a", 0.9), heard("gone", 0.9)]).kept_back == 2
    assert flags_of(chronicle, "a") == [None, None]


def test_one_of_two_events_is_enough_for_a_flag(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    write_results(chronicle, [heard("a", 0.9), heard("a", 0.1, event="sneeze", adapter="sneeze_v1")])
    assert flags_of(chronicle, "a") == [None, True]
    assert chronicle[EVENT_SCANS].count_documents({}) == 2


def test_writing_the_same_again_changes_nothing(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    for _ in range(2):
        write_results(chronicle, [heard("a", 0.9)])
    assert chronicle[EVENT_SCANS].count_documents({}) == 1


def test_a_version_without_a_score_keeps_its_flag_but_is_on_record(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    write_results(chronicle, [VersionScore("a", "v1", "chime", "chime_v1", None, 0.5, problem="NoAudio")])
    assert flags_of(chronicle, "a") == [None, None]
    assert list(iter_pending(chronicle, ["chime_v1"])) == []


def test_pending_are_unanswered_undeleted_active_versions_newest_first(chronicle: Db) -> None:
    save_conversation(chronicle, "older", created_at=1)
    save_conversation(chronicle, "newer", created_at=2)
    save_conversation(chronicle, "marked by the old script", flag=True, created_at=0)
    save_conversation(chronicle, "accepted", flag="verified")
    save_conversation(chronicle, "rejected", flag="rejected")
    save_conversation(chronicle, "deleted", deleted=True)
    save_conversation(chronicle, "reviewed", created_at=3)
    chronicle[EVENT_REVIEWS].insert_one(
        {"conversation_id": "reviewed", "version_id": "v1", "event": "chime", "answer": "accepted"}
    )
    chronicle[CONVERSATIONS].insert_one({"conversation_id": "odd", "transcript_versions": "not a list"})
    pending = list(iter_pending(chronicle, ["chime_v1"]))
    assert pending == [PendingVersion(name, "v1") for name in ("newer", "older", "marked by the old script")]


def test_a_new_adapter_makes_scanned_versions_pending_again(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    write_results(chronicle, [heard("a", 0.1)])
    assert list(iter_pending(chronicle, ["chime_v1"])) == []
    assert len(list(iter_pending(chronicle, ["chime_v2"]))) == 1
    assert len(list(iter_pending(chronicle, ["chime_v1", "sneeze_v1"]))) == 1


def test_an_answer_that_was_undone_counts_no_more(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    chronicle[EVENT_REVIEWS].insert_one({"conversation_id": "a", "version_id": "v1", "event": "chime", "answer": None})
    assert len(list(iter_pending(chronicle, ["chime_v1"]))) == 1
    assert write_results(chronicle, [heard("a", 0.9)]).flags == 1


def test_a_scan_for_one_event_leaves_the_other_events_flag(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    write_results(chronicle, [heard("a", 0.9)])
    write_results(chronicle, [heard("a", 0.1, event="sneeze", adapter="sneeze_v1")])
    assert flags_of(chronicle, "a") == [None, True]


def test_flags_that_chronicle_overwrote_are_set_again_but_no_answer_is(chronicle: Db) -> None:
    for name in ("lost", "kept", "answered"):
        save_conversation(chronicle, name)
    write_results(chronicle, [heard("lost", 0.9), heard("kept", 0.9), heard("answered", 0.9)])
    for name, flag in (("lost", None), ("answered", "rejected")):
        chronicle[CONVERSATIONS].update_one(
            {"conversation_id": name}, {"$set": {"transcript_versions.1.maybe_anomaly": flag}}
        )
    assert reassert_flags(chronicle) == 1
    assert flags_of(chronicle, "lost") == [None, True]
    assert flags_of(chronicle, "answered") == [None, "rejected"]
