"""What is known of a version against what its flag says, after Chronicle saved an older copy."""

from typing import Any

import pytest

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS
from event_detection_pipeline.review.answers import record, settle_unfinished, withdraw
from event_detection_pipeline.review.reviews import Answer, Said
from event_detection_pipeline.scan.pending import HEAD, Examined, examine
from event_detection_pipeline.scan.results import restore
from event_detection_pipeline_tests.review.flags import add_flagged, version_of
from event_detection_pipeline_tests.scan.documents import Db


def say(database: Db, answer: Said) -> None:
    record(database, Answer("c", "c-v1", answer, "ada"), configured=["chime"], copy_audio=False)


def look(database: Db) -> Examined:
    heads = list(database[CONVERSATIONS].find({}, HEAD))
    examined = examine(database, heads, ["chime_v1"])
    restore(database, examined)
    settle_unfinished(database, copy_audio=False)
    return examined


def loaded(database: Db) -> dict[str, Any]:
    return database[CONVERSATIONS].find_one({"conversation_id": "c"}) or {}


def save(database: Db, document: dict[str, Any]) -> None:
    database[CONVERSATIONS].replace_one({"_id": document["_id"]}, document)


@pytest.mark.parametrize(
    ("first", "then", "flag"), [("rejected", "accepted", "verified"), ("accepted", "rejected", "rejected")]
)
def test_a_change_of_mind_that_chronicle_overwrote_comes_back(
    chronicle: Db, first: Said, then: Said, flag: str
) -> None:
    add_flagged(chronicle, event="chime", adapter="chime_v1", conversation_id="c")
    say(chronicle, first)
    before = loaded(chronicle)
    say(chronicle, then)
    save(chronicle, before)
    assert len(look(chronicle).lost_answers) == 1
    assert version_of(chronicle, "c")["maybe_anomaly"] == flag
    assert look(chronicle).lost_answers == []


def test_an_answer_that_was_taken_back_and_that_chronicle_brought_back_is_asked_for_again(chronicle: Db) -> None:
    add_flagged(chronicle, event="chime", adapter="chime_v1", conversation_id="c")
    say(chronicle, "rejected")
    before = loaded(chronicle)
    (review,) = chronicle[EVENT_REVIEWS].find()
    withdraw(chronicle, "c", "c-v1", "chime", revision=review["revision"], reviewer="ada")
    save(chronicle, before)
    look(chronicle)
    assert version_of(chronicle, "c")["maybe_anomaly"] is True


def test_what_somebody_answered_in_chronicle_itself_afterwards_is_left_alone(chronicle: Db) -> None:
    add_flagged(chronicle, event="chime", adapter="chime_v1", conversation_id="c")
    say(chronicle, "accepted")
    say(chronicle, "rejected")
    answered = {"maybe_anomaly": "verified", "verified_at": "2026-01-01T00:00:00+00:00", "rejected_at": None}
    fields = {f"transcript_versions.0.{name}": value for name, value in answered.items()}
    chronicle[CONVERSATIONS].update_one({"conversation_id": "c"}, {"$set": fields})
    assert look(chronicle).lost_answers == []
    assert version_of(chronicle, "c")["maybe_anomaly"] == "verified"
