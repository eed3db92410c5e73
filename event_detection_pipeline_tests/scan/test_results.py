"""Flags and scores are written, and no person's answer is ever overwritten."""

import pytest

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS, EVENT_SCANS, EVENT_SHADOW_SCANS
from event_detection_pipeline.scan.results import VersionScore, write_results, write_shadow
from event_detection_pipeline_tests.scan.documents import Db, flags_of, heard, save_conversation, work_of


def test_a_loud_score_flags_the_active_version_and_no_other(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    written = write_results(chronicle, [heard("a", 0.9)])
    assert (written.flags, written.answered, written.gone) == (1, 0, 0)
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
    assert (written.flags, written.answered, written.gone) == (0, 1, 0)
    assert flags_of(chronicle, "a") == [None, answer]


def test_an_answer_that_chronicle_overwrote_still_counts(chronicle: Db) -> None:
    save_conversation(chronicle, "a", flag=None)
    chronicle[EVENT_REVIEWS].insert_one(
        {"conversation_id": "a", "version_id": "v1", "event": "chime", "answer": "accepted"}
    )
    assert write_results(chronicle, [heard("a", 0.9)]).answered == 1
    assert flags_of(chronicle, "a") == [None, None]


def test_a_conversation_deleted_meanwhile_is_not_flagged(chronicle: Db) -> None:
    save_conversation(chronicle, "a", deleted=True)
    assert write_results(chronicle, [heard("a", 0.9), heard("gone", 0.9)]).gone == 2
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
    assert work_of(chronicle) == []


def test_an_answer_that_was_undone_counts_no_more(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    chronicle[EVENT_REVIEWS].insert_one({"conversation_id": "a", "version_id": "v1", "event": "chime", "answer": None})
    assert work_of(chronicle) == ["a"]
    assert write_results(chronicle, [heard("a", 0.9)]).flags == 1


def test_a_scan_for_one_event_leaves_the_other_events_flag(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    write_results(chronicle, [heard("a", 0.9)])
    write_results(chronicle, [heard("a", 0.1, event="sneeze", adapter="sneeze_v1")])
    assert flags_of(chronicle, "a") == [None, True]


def test_what_a_candidate_hears_is_kept_apart_and_flags_nothing(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    for _ in range(2):
        write_shadow(chronicle, [heard("a", 0.9, adapter="chime_v2"), heard("a", 0.8, adapter="chime_v3")])
    assert flags_of(chronicle, "a") == [None, None]
    assert chronicle[EVENT_SCANS].count_documents({}) == 0
    scores = {scan["adapter"]: scan["score"] for scan in chronicle[EVENT_SHADOW_SCANS].find()}
    assert scores == {"chime_v2": 0.9, "chime_v3": 0.8}
    assert work_of(chronicle) == ["a"]
