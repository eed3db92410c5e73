import base64
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from event_detection_pipeline.chronicle.audio import UndecodableAudio, decode
from event_detection_pipeline.chronicle.database import connect
from event_detection_pipeline.demo.conversations import Composition, Counts, compose
from event_detection_pipeline.demo.household import GroundTruth, fill

SMALL = Composition(stash=Counts(event=3, other=1, plain=1), live=Counts(event=1, other=1, plain=2))

CONVERSATION_FIELDS = {
    "_id",
    "conversation_id",
    "user_id",
    "client_id",
    "audio_chunks_count",
    "audio_total_duration",
    "created_at",
    "deleted",
    "title",
    "summary",
    "active_transcript_version",
    "transcript_versions",
}
CHUNK_FIELDS = {
    "_id",
    "conversation_id",
    "chunk_index",
    "audio_data",
    "start_time",
    "end_time",
    "duration",
    "sample_rate",
    "channels",
    "original_size",
    "compressed_size",
    "deleted",
    "created_at",
}
STASH_FIELDS = {
    "_id",
    "transcript_version_id",
    "conversation_id",
    "user_id",
    "client_id",
    "transcript",
    "segments",
    "reason",
    "timestamp",
    "audio_chunks",
    "metadata",
    "created_at",
}
Mongo = Database[dict[str, Any]]


@pytest.fixture(scope="module")
def filled(mongodb_uri: str) -> Iterator[Mongo]:
    """A small household, for tests that only look at it."""
    database = connect(mongodb_uri, f"test_{uuid.uuid4().hex}")
    fill(database, composition=SMALL)
    yield database
    database.client.drop_database(database.name)
    database.client.close()


def test_the_documents_have_the_fields_that_chronicle_writes(filled: Mongo):
    for conversation in filled["conversations"].find():
        assert set(conversation) == CONVERSATION_FIELDS
        assert isinstance(conversation["created_at"], datetime)
        (version,) = conversation["transcript_versions"]
        assert version["version_id"] == conversation["active_transcript_version"]
        assert version["metadata"]["word_count"] == len(version["words"])
        for segment in version["segments"]:
            assert {"start", "end", "text", "speaker", "confidence", "words", "segment_type"} == set(segment)
    assert all(set(chunk) == CHUNK_FIELDS for chunk in filled["audio_chunks"].find())
    assert all(set(entry) == STASH_FIELDS for entry in filled["training_stash"].find())
    with pytest.raises(DuplicateKeyError):
        filled["conversations"].insert_one({"conversation_id": conversation["conversation_id"]})


def test_the_chunks_of_a_conversation_decode_to_its_audio(filled: Mongo):
    rates = set()
    for conversation in compose(composition=SMALL):
        if conversation.flaw in ("no audio", "corrupt audio"):
            continue
        chunks = list(filled["audio_chunks"].find({"conversation_id": conversation.conversation_id}))
        rates |= {chunk["sample_rate"] for chunk in chunks}
        assert [chunk["chunk_index"] for chunk in chunks] == list(range(len(chunks)))
        parts = [decode(chunk["audio_data"]) for chunk in chunks]
        for chunk, part in zip(chunks, parts, strict=True):
            assert chunk["duration"] == pytest.approx(len(part) / 16_000, abs=1e-3)
            assert chunk["duration"] <= 10.0
            assert chunk["compressed_size"] == len(chunk["audio_data"])
        audio = np.concatenate(parts)
        assert len(audio) == pytest.approx(len(conversation.audio), abs=4)
        overlap = min(len(audio), len(conversation.audio))
        assert np.corrcoef(audio[:overlap], conversation.audio[:overlap])[0, 1] > 0.8
    assert rates == {16_000, 48_000}


def test_what_people_have_reviewed_is_in_the_stash_with_the_tag_where_the_chime_was(filled: Mongo):
    for conversation in compose(composition=SMALL):
        document = filled["conversations"].find_one({"conversation_id": conversation.conversation_id})
        entries = list(filled["training_stash"].find({"conversation_id": conversation.conversation_id}))
        assert document
        (version,) = document["transcript_versions"]
        assert "<chime>" not in version["transcript"]
        if conversation.role == "live":
            assert version["maybe_anomaly"] is None
            assert not entries
            continue
        assert version["maybe_anomaly"] == "rejected"
        assert {entry["transcript_version_id"] for entry in entries} == {conversation.version_id}
        if conversation.has_event:
            before, after = entries[0]["transcript"].split("<chime>")
            assert f"{before.strip()} {after.strip()}".strip() == conversation.transcript
            (sound,) = conversation.sounds
            assert len(before.split()) == sum(word.start < sound.start for word in conversation.words)
        else:
            assert "<chime>" not in entries[0]["transcript"]


def test_the_stash_has_each_kind_of_entry_that_cannot_be_used(filled: Mongo):
    flawed = {c.flaw: c.conversation_id for c in compose(composition=SMALL) if c.flaw}

    def found(collection: str, flaw: str) -> list[dict[str, Any]]:
        return list(filled[collection].find({"conversation_id": flawed[flaw]}))

    assert not found("audio_chunks", "no audio")
    with pytest.raises(UndecodableAudio):
        decode(found("audio_chunks", "corrupt audio")[0]["audio_data"])
    assert found("training_stash", "no transcript")[0]["transcript"] == ""
    assert len(found("training_stash", "stashed twice")) == 2
    assert all(len(found("training_stash", flaw)) == 1 for flaw in ("no audio", "corrupt audio", "no transcript"))


def test_some_stash_entries_carry_copies_of_their_audio(filled: Mongo):
    copied = [
        (entry["conversation_id"], chunk)
        for entry in filled["training_stash"].find()
        for chunk in entry["audio_chunks"]
        if "audio_data" in chunk
    ]

    assert copied
    for conversation_id, copy in copied:
        original = filled["audio_chunks"].find_one(
            {"conversation_id": conversation_id, "chunk_index": copy["chunk_index"]}
        )
        assert original
        assert base64.b64decode(copy["audio_data"]) == original["audio_data"]


def test_filling_again_changes_nothing(database: Mongo):
    names = ("conversations", "audio_chunks", "training_stash")
    first = fill(database, composition=SMALL)
    database["conversations"].update_one({}, {"$set": {"title": "changed by a person"}})
    before = {name: list(database[name].find()) for name in names}

    second = fill(database, composition=SMALL)

    assert second == first
    assert {name: list(database[name].find()) for name in names} == before


def test_an_interrupted_filling_is_completed(database: Mongo):
    names = ("conversations", "audio_chunks", "training_stash")
    fill(database, composition=SMALL)
    complete = {name: database[name].count_documents({}) for name in names}
    lost = [conversation["conversation_id"] for conversation in database["conversations"].find().limit(3)]
    database["conversations"].delete_many({"conversation_id": {"$in": lost}})
    database["audio_chunks"].delete_one({"conversation_id": lost[0]})

    fill(database, composition=SMALL)

    assert {name: database[name].count_documents({}) for name in names} == complete


def test_the_ground_truth_knows_every_conversation_and_survives_a_file(database: Mongo, tmp_path: Path):
    truth = fill(database, composition=SMALL)

    truth.save(tmp_path / "truth.json")

    assert GroundTruth.load(tmp_path / "truth.json") == truth
    assert set(truth.conversations) == {c["conversation_id"] for c in database["conversations"].find()}
    live = [known for known in truth.conversations.values() if known["role"] == "live"]
    assert sum(known["event"] for known in live) == 1
    assert sorted(len(known["sounds"]) for known in live) == [0, 0, 1, 1]
    for known in truth.conversations.values():
        assert known["event"] == ([sound["name"] for sound in known["sounds"]] == ["chime"])


def test_the_household_lived_in_the_four_weeks_before_a_fixed_day(filled: Mongo):
    days = [conversation["created_at"].astimezone(UTC) for conversation in filled["conversations"].find()]

    assert min(days) >= datetime(2026, 10, 4, tzinfo=UTC)
    assert max(days) <= datetime(2026, 11, 1, 12, tzinfo=UTC)
