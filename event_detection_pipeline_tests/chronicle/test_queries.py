"""Queries return what they are asked for and load no more."""

from typing import Any

from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import CommandListener, CommandStartedEvent

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, TRAINING_STASH
from event_detection_pipeline.chronicle.documents import parse_stash_entry
from event_detection_pipeline.chronicle.queries import (
    arrivals,
    count_samples,
    get_conversation,
    has_audio,
    iter_stash,
    newest_id,
    newest_sample,
    stash_audio,
)
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry


def test_the_stash_is_listed_without_its_audio(database: Database[dict[str, Any]]):
    id_ = add_stash_entry(database, "c", audio_chunks=[{"audio_data": "QUJD"}])
    (document,) = iter_stash(database)
    assert parse_stash_entry(document).transcript == "hello there"
    assert "audio_chunks" not in document
    assert count_samples(database, "event") == 1
    assert stash_audio(database, document["_id"]) == [{"audio_data": "QUJD"}]
    assert str(document["_id"]) == id_


def test_a_conversation_comes_with_the_one_version_asked_for(database: Database[dict[str, Any]]):
    versions = [{"version_id": f"v{number}", "transcript": f"text {number}"} for number in range(3)]
    id_ = add_conversation(database, chunks=[], transcript_versions=versions, active_transcript_version="v2")
    active = get_conversation(database, id_)
    other = get_conversation(database, id_, version_id="v1")
    assert active and active.active_version and active.active_version.transcript == "text 2"
    assert other and [version.version_id for version in other.versions] == ["v1"]
    assert get_conversation(database, "nobody") is None
    missing = get_conversation(database, id_, version_id="v9")
    assert missing and missing.versions == ()


def test_soft_deleted_audio_is_no_audio(database: Database[dict[str, Any]]):
    chunk = {"chunk_index": 0, "audio_data": b"x"}
    assert has_audio(database, add_conversation(database, chunks=[chunk]))
    assert not has_audio(database, add_conversation(database, chunks=[chunk | {"deleted": True}]))


def test_entries_are_counted_from_one_on_also_when_that_one_is_gone(database: Database[dict[str, Any]]):
    assert newest_id(database, TRAINING_STASH) == ""
    first, second, third = (add_stash_entry(database, "c") for _ in range(3))
    assert newest_id(database, TRAINING_STASH) == third
    assert [count_samples(database, "event", after=id_) for id_ in ("", first, second, third)] == [3, 2, 1, 0]
    database[TRAINING_STASH].delete_many({"_id": {"$lte": next(iter_stash(database))["_id"]}})
    assert count_samples(database, "event", after=first) == 2


def test_accepted_flags_of_the_event_are_samples_too(database: Database[dict[str, Any]]):
    entry = add_stash_entry(database, "c")
    said = [
        ("event", "accepted"),
        ("event", "rejected"),
        ("event", None),
        ("sneeze", "accepted"),
        ("event", "accepted"),
    ]
    answers = [{"conversation_id": "c", "version_id": "v", "event": event, "answer": answer} for event, answer in said]
    ids = [str(id_) for id_ in database[EVENT_REVIEWS].insert_many(answers).inserted_ids]
    assert [count_samples(database, event) for event in ("event", "sneeze", "doorbell")] == [3, 2, 1]
    assert [count_samples(database, "event", after=id_) for id_ in (entry, *ids)] == [2, 1, 1, 1, 1, 0]
    assert newest_sample(database) == ids[-1]


def test_an_id_of_the_future_is_newer_than_nothing(database: Database[dict[str, Any]]):
    first = add_stash_entry(database, "c")
    future = add_stash_entry(database, "c", _id=ObjectId("ff" * 12))
    assert newest_sample(database) == newest_id(database, TRAINING_STASH) == first
    assert count_samples(database, "event", after=first) == 0
    assert count_samples(database, "event", after=future) == 2  # what was trained with it, no id tells
    last = add_stash_entry(database, "c")
    assert newest_sample(database) == last
    assert count_samples(database, "event", after=first) == 1


def test_the_stash_is_counted_without_reading_its_audio(database: Database[dict[str, Any]], mongodb_uri: str):
    id_ = add_stash_entry(database, "c")
    sent = Counts()
    with MongoClient(mongodb_uri, event_listeners=[sent]) as client:
        for after in ("", id_):
            count_samples(client[database.name], "event", after=after)
    plans = [str(database.command("explain", command)) for command in sent.commands]
    assert ["COLLSCAN" in plan for plan in plans] == [False, False]


class Counts(CommandListener):
    """The counts of the stash that a client asks of its server."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "aggregate" and event.command["aggregate"] == TRAINING_STASH:
            asked = ("aggregate", "pipeline", "cursor", "hint")
            self.commands.append({name: event.command[name] for name in asked if name in event.command})

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


def test_arrivals_are_what_is_newer_and_what_was_asked_for_newest_first(database: Database[dict[str, Any]]):
    states = [{"active_transcript_version": "v"}, {}, {"active_transcript_version": None}, {"deleted": True}, {}]
    a, b, c, _, e = (str(id_) for id_ in database[CONVERSATIONS].insert_many(states).inserted_ids)
    assert arrivals(database, after="", limit=9) == [(e, False), (c, False), (b, False), (a, True)]
    assert arrivals(database, after=b, also=[a], limit=9) == [(e, False), (c, False), (a, True)]
    assert arrivals(database, after="", limit=1) == [(e, False)]
    assert arrivals(database, after=e, limit=9) == []
