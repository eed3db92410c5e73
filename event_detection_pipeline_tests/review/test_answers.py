"""Answers against a real server: once is as good as twice, and a crash anywhere loses and doubles nothing."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bson
import pytest
from bson import ObjectId
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.chronicle.database import ensure_indexes
from event_detection_pipeline.chronicle.queries import iter_stash
from event_detection_pipeline.review.answers import (
    ConversationNotFound,
    Recorded,
    VersionNotFound,
    record,
    settle_unfinished,
    withdraw,
)
from event_detection_pipeline.review.reviews import Answer, AnswerChanged, Said, log_answer
from event_detection_pipeline.scan.results import VersionScore, write_results
from event_detection_pipeline_tests.household import add_stash_entry
from event_detection_pipeline_tests.review.flags import add_flagged, add_scan, review_of, version_of
from event_detection_pipeline_tests.sounds import encode, tone

Db = Database[dict[str, Any]]


@pytest.fixture(autouse=True)
def indexes(database: Db) -> None:
    ensure_indexes(database)


def say(
    database: Db,
    conversation_id: str,
    answer: Said,
    *,
    copy_audio: bool = False,
    **fields: Any,
) -> Recorded:
    return record(
        database,
        Answer(conversation_id, f"{conversation_id}-v1", answer, fields.pop("reviewer", "ada"), **fields),
        configured=["event"],
        copy_audio=copy_audio,
    )


def stashed(database: Db) -> list[dict[str, Any]]:
    return list(database["training_stash"].find())


def test_an_accepted_flag_is_verified_and_logged_with_the_adapters_score(database: Db):
    conversation = add_flagged(database, score=0.8, adapter="event_v3")
    say(database, conversation, "accepted")
    version, review = version_of(database, conversation), review_of(database, conversation)
    assert version["maybe_anomaly"] == "verified"
    assert version["verified_at"] == review["reviewed_at"].isoformat()
    assert (review["answer"], review["reviewer"], review["adapter"], review["score"]) == (
        "accepted",
        "ada",
        "event_v3",
        0.8,
    )
    assert stashed(database) == []


def test_a_rejected_flag_is_stashed_with_references_to_its_audio(database: Db):
    conversation = add_flagged(database, user_id="u1", client_id="c1", segments=[{"start": 0, "end": 1, "text": "hi"}])
    recorded = say(database, conversation, "rejected", reason="a knock", timestamp=12.5)
    [entry] = stashed(database)
    assert recorded.stash_id == str(entry["_id"])
    assert entry["transcript_version_id"] == f"{conversation}-v1"
    assert (entry["user_id"], entry["client_id"], entry["reason"], entry["timestamp"]) == ("u1", "c1", "a knock", 12.5)
    assert entry["transcript"] == "hello there"
    assert entry["segments"] == [{"start": 0, "end": 1, "text": "hi"}]
    assert [chunk["chunk_index"] for chunk in entry["audio_chunks"]] == [0]
    assert "audio_data" not in entry["audio_chunks"][0]
    version = version_of(database, conversation)
    assert (version["maybe_anomaly"], version["rejected_reason"]) == ("rejected", "a knock")
    assert version["rejected_at"] == review_of(database, conversation)["reviewed_at"].isoformat()


@pytest.mark.parametrize("answer", ["accepted", "rejected"])
def test_the_same_answer_twice_changes_nothing(database: Db, answer: Said):
    conversation = add_flagged(database)
    first = say(database, conversation, answer)
    before = version_of(database, conversation), review_of(database, conversation), stashed(database)
    assert say(database, conversation, answer, reviewer="ben") == first
    assert (version_of(database, conversation), review_of(database, conversation), stashed(database)) == before


def test_a_change_of_mind_is_recorded_and_empties_the_stash(database: Db):
    conversation = add_flagged(database)
    say(database, conversation, "rejected", reason="no")
    say(database, conversation, "accepted", reviewer="ben")
    review = review_of(database, conversation)
    assert (review["answer"], review["reviewer"]) == ("accepted", "ben")
    assert [(one["answer"], one["reviewer"], one["reason"]) for one in review["history"]] == [("rejected", "ada", "no")]
    assert stashed(database) == []
    version = version_of(database, conversation)
    assert (version["maybe_anomaly"], version["rejected_at"], version["rejected_reason"]) == ("verified", None, None)


def test_an_entry_that_chronicle_stashed_is_reused_and_taken_out_again(database: Db):
    conversation = add_flagged(database)
    database["conversations"].update_one(
        {"conversation_id": conversation}, {"$set": {"transcript_versions.0.maybe_anomaly": "rejected"}}
    )
    theirs = add_stash_entry(database, conversation)
    assert say(database, conversation, "rejected").stash_id == theirs
    assert len(stashed(database)) == 1
    say(database, conversation, "accepted")
    assert stashed(database) == []


def test_stash_entries_are_in_the_order_of_the_answers(database: Db):
    conversations = [add_flagged(database, chunks=[]) for _ in range(5)]
    for conversation in conversations:
        say(database, conversation, "rejected")
    assert [entry["conversation_id"] for entry in iter_stash(database)] == conversations


def test_an_entry_with_the_id_of_an_earlier_release_is_reused_and_taken_out_again(database: Db):
    conversation = add_flagged(database)
    made_of_the_version = hashlib.sha256(f"{conversation}\0{conversation}-v1".encode()).digest()
    former = ObjectId(made_of_the_version[:12])
    add_stash_entry(database, conversation, _id=former)
    assert say(database, conversation, "rejected", reason="a knock").stash_id == str(former)
    assert [(entry["_id"], entry["reason"]) for entry in stashed(database)] == [(former, "a knock")]
    say(database, conversation, "accepted")
    assert stashed(database) == []


def test_of_entries_for_two_reviews_of_a_version_the_first_stays(database: Db):
    conversation = add_flagged(database, event="sneeze")
    add_scan(database, conversation, event="doorbell")
    for event in ("sneeze", "doorbell"):
        say(database, conversation, "rejected", event=event)
    [entry] = stashed(database)
    first, second = sorted(review["_id"] for review in database["event_reviews"].find())
    assert entry["_id"] == first
    add_stash_entry(database, conversation, _id=second)  # by who saw the second review only
    say(database, conversation, "rejected", event="sneeze", reason="a knock")
    assert [(entry["_id"], entry["reason"]) for entry in stashed(database)] == [(first, "a knock")]


def test_an_answer_taken_back_waits_for_an_answer_again(database: Db):
    conversation = add_flagged(database)
    recorded = say(database, conversation, "rejected")
    for _ in range(2):  # the reply to the first may have been lost
        withdraw(
            database,
            conversation,
            f"{conversation}-v1",
            "event",
            revision=recorded.revisions["event"],
            reviewer="ada",
        )
    review = review_of(database, conversation)
    assert review["answer"] is None
    assert [one["answer"] for one in review["history"]] == ["rejected"]
    assert version_of(database, conversation)["maybe_anomaly"] is True
    assert stashed(database) == []


def test_an_answer_is_not_taken_back_over_somebody_elses(database: Db):
    conversation = add_flagged(database)
    mine = say(database, conversation, "rejected").revisions["event"]
    say(database, conversation, "accepted", reviewer="ben")
    with pytest.raises(AnswerChanged):
        withdraw(database, conversation, f"{conversation}-v1", "event", revision=mine, reviewer="ada")
    assert version_of(database, conversation)["maybe_anomaly"] == "verified"


def test_what_a_crash_cut_short_is_finished_at_the_next_start(database: Db):
    rejected, accepted, gone = add_flagged(database), add_flagged(database), add_flagged(database)
    answers: dict[str, Said] = {rejected: "rejected", accepted: "accepted", gone: "accepted"}
    for conversation, said in answers.items():
        log_answer(database, Answer(conversation, f"{conversation}-v1", said, "ada"), "event")  # and the power fails
    database["conversations"].delete_one({"conversation_id": gone})
    assert settle_unfinished(database, copy_audio=False) == 3
    assert version_of(database, rejected)["maybe_anomaly"] == "rejected"
    assert version_of(database, accepted)["maybe_anomaly"] == "verified"
    assert len(stashed(database)) == 1
    assert settle_unfinished(database, copy_audio=False) == 0


def test_a_crash_between_stash_and_flag_makes_no_second_entry(database: Db):
    conversation = add_flagged(database)
    say(database, conversation, "rejected")
    database["conversations"].update_one(  # as if the flag had never been written
        {"conversation_id": conversation},
        {"$set": {"transcript_versions.0.maybe_anomaly": True, "transcript_versions.0.rejected_at": None}},
    )
    say(database, conversation, "rejected")
    assert len(stashed(database)) == 1
    assert version_of(database, conversation)["maybe_anomaly"] == "rejected"


def test_many_people_at_once_leave_one_answer_that_everything_agrees_with(database: Db):
    conversation = add_flagged(database)
    said: list[Said] = ["accepted", "rejected"] * 6
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda answer: say(database, conversation, answer), said))
    review = review_of(database, conversation)
    agrees = {"accepted": ("verified", 0), "rejected": ("rejected", 1)}[review["answer"]]
    assert (version_of(database, conversation)["maybe_anomaly"], len(stashed(database))) == agrees
    assert len(review["history"]) == review["revision"] - 1


def test_a_version_with_two_events_waits_until_both_are_answered(database: Db):
    conversation = add_flagged(database, event="sneeze")
    add_scan(database, conversation, event="doorbell")
    say(database, conversation, "rejected", event="sneeze")
    assert version_of(database, conversation)["maybe_anomaly"] is True
    assert stashed(database) == []
    say(database, conversation, "rejected", event="doorbell")
    assert version_of(database, conversation)["maybe_anomaly"] == "rejected"
    say(database, conversation, "accepted", event="doorbell")
    assert version_of(database, conversation)["maybe_anomaly"] == "verified"
    assert stashed(database) == []


def test_an_answer_without_an_event_is_about_all_that_was_flagged(database: Db):
    conversation = add_flagged(database, event="sneeze")
    add_scan(database, conversation, event="doorbell")
    add_scan(database, conversation, event="knock", score=0.1)
    assert set(say(database, conversation, "rejected").revisions) == {"sneeze", "doorbell"}


def test_a_flag_without_a_scan_is_about_the_configured_event(database: Db):
    conversation = add_flagged(database, event=None)
    say(database, conversation, "accepted")
    review = review_of(database, conversation)
    assert (review["adapter"], review["score"]) == (None, None)


def test_a_corrected_text_goes_to_the_stash(database: Db):
    conversation = add_flagged(database)
    say(database, conversation, "rejected", transcript="hello <event> there")
    assert stashed(database)[0]["transcript"] == "hello <event> there"
    say(database, conversation, "rejected", transcript="hello there <event>")
    assert [entry["transcript"] for entry in stashed(database)] == ["hello there <event>"]
    say(database, conversation, "rejected", transcript="")  # nobody said anything
    assert [entry["transcript"] for entry in stashed(database)] == [""]


def test_audio_is_copied_only_on_request_and_only_if_all_of_it_fits(database: Db):
    sound = encode(tone(2))
    short = add_flagged(database, chunks=[{"chunk_index": i, "audio_data": sound} for i in range(2)])
    say(database, short, "rejected", copy_audio=True)
    chunks = stashed(database)[0]["audio_chunks"]
    assert [len(decode(chunk["audio_data"])) for chunk in chunks] == [32_000, 32_000]

    database["training_stash"].delete_many({})
    large = add_flagged(database, chunks=[{"chunk_index": i, "audio_data": bytes(1_000_000)} for i in range(12)])
    say(database, large, "rejected", copy_audio=True)
    [entry] = stashed(database)
    assert len(entry["audio_chunks"]) == 12
    assert len(bson.encode(entry)) < 10_000


def test_a_stash_entry_stays_far_from_the_limit_of_a_document(database: Db):
    words = [{"word": "x" * 50, "start": float(i), "end": float(i)} for i in range(100_000)]
    conversation = add_flagged(database, segments=[{"start": 0, "end": 9, "text": "long", "words": words}])
    say(database, conversation, "rejected")
    assert len(bson.encode(stashed(database)[0])) < 8 * 2**20


def test_what_is_not_there_cannot_be_answered(database: Db):
    conversation = add_flagged(database)
    with pytest.raises(VersionNotFound):
        record(database, Answer(conversation, "v9", "accepted", "ada"), configured=["event"], copy_audio=False)
    with pytest.raises(ConversationNotFound):
        say(database, "nobody", "accepted")
    database["conversations"].update_one({"conversation_id": conversation}, {"$set": {"deleted": True}})
    with pytest.raises(ConversationNotFound):
        say(database, conversation, "rejected")
    assert database["event_reviews"].count_documents({}) == 0
    assert stashed(database) == []


def test_other_versions_and_unknown_fields_are_left_alone(database: Db):
    conversation = add_flagged(database, invented_by_chronicle={"x": 1})
    other = {"version_id": "v2", "maybe_anomaly": True, "new_field": 7}
    database["conversations"].update_one({"conversation_id": conversation}, {"$push": {"transcript_versions": other}})
    say(database, conversation, "rejected")
    document = database["conversations"].find_one({"conversation_id": conversation})
    assert document is not None
    assert document["transcript_versions"][1] == other
    assert document["invented_by_chronicle"] == {"x": 1}


def test_a_scan_does_not_flag_an_answered_version_again(database: Db):
    conversation = add_flagged(database)
    say(database, conversation, "rejected")
    write_results(database, [VersionScore(conversation, f"{conversation}-v1", "event", "event_v2", 0.99, 0.5, 1.0)])
    assert version_of(database, conversation)["maybe_anomaly"] == "rejected"
