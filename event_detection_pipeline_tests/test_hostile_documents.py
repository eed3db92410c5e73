"""Whatever the database holds, what is right in it is exported, scanned and shown: no document stops the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from event_detection_pipeline.chronicle.database import connect, ensure_indexes
from event_detection_pipeline.chronicle.documents import parse_version
from event_detection_pipeline.clips.export import export_clips
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.review.cards import find_cards
from event_detection_pipeline.review.flagged import iter_flagged
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.windows import version_windows
from event_detection_pipeline.scan.work import Work
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry
from event_detection_pipeline_tests.review.flags import add_flagged
from event_detection_pipeline_tests.sounds import encode, tone

Db = Database[dict[str, Any]]

EVENT = EventSettings(name="event")
SOUND = encode(tone(1.0))

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
odd = st.sampled_from(
    [ObjectId(), Decimal128("1.5"), Int64(2**62), MinKey(), MaxKey(), Regex("a"), Timestamp(1, 1), b"\x00", -0.0, 1e308]
)
whole = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda moment: moment.replace(tzinfo=UTC))
value = st.recursive(
    st.none() | st.booleans() | whole | st.floats() | text | odd | moments,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=5,
)


def fields(*names: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these fields, each of any form, or of the form that it should have with any content."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, value) | known)


word = fields("word", "text", "start", "end", "confidence", "speaker")
segment = fields("start", "end", "text", "speaker", "segment_type", words=st.lists(word, max_size=2) | value)
version = fields(
    "transcript",
    "maybe_anomaly",
    "verified_at",
    "rejected_at",
    "created_at",
    "metadata",
    version_id=st.just("v1") | value,
    words=st.lists(word, max_size=3) | value,
    segments=st.lists(segment, max_size=3) | value,
)
conversation = fields(
    "user_id",
    "created_at",
    "title",
    "deleted",
    conversation_id=st.sampled_from(["wild", "good-2"]) | value,
    active_transcript_version=st.just("v1") | value,
    transcript_versions=st.lists(version | value, max_size=3) | value,
)
chunk = fields(
    "duration",
    "deleted",
    # A list matches a query for what is in it.
    conversation_id=st.sampled_from(["wild", ["stashed"], ["new"]]) | value,
    chunk_index=value,
    audio_data=value,
)
stashed = fields(
    "transcript",
    "segments",
    "timestamp",
    "created_at",
    "audio_chunks",
    "user_id",
    conversation_id=st.just("wild") | value,
    transcript_version_id=st.just("v1") | value,
)


@contextmanager
def household(uri: str) -> Iterator[Db]:
    """A database with one conversation of each kind that is as it should be."""
    database = connect(uri, f"test_{uuid4().hex}")
    try:
        ensure_indexes(database)
        chunks = [{"chunk_index": 0, "audio_data": SOUND}]
        add_stash_entry(database, add_conversation(database, conversation_id="stashed", chunks=chunks))
        add_conversation(database, conversation_id="new", chunks=chunks)
        add_flagged(database, conversation_id="flagged", chunks=chunks)
        yield database
    finally:
        database.client.drop_database(database.name)
        database.client.close()


def insert(database: Db, collection: str, documents: list[dict[str, Any]]) -> None:
    for document in documents:
        try:
            database[collection].insert_one(document)
        except (DuplicateKeyError, OverflowError):
            continue


@settings(max_examples=40)
@given(
    conversations=st.lists(conversation, max_size=3),
    chunks=st.lists(chunk, max_size=3),
    entries=st.lists(stashed, max_size=3),
)
def test_documents_of_wild_types_stop_nothing(
    mongodb_uri: str, conversations: list[dict[str, Any]], chunks: list[dict[str, Any]], entries: list[dict[str, Any]]
):
    with household(mongodb_uri) as database, TemporaryDirectory() as folder:
        insert(database, "conversations", conversations)
        insert(database, "audio_chunks", chunks)
        insert(database, "training_stash", entries)
        settings_ = Settings(data_dir=Path(folder), base_model=str(Path(folder) / "none"), events=(EVENT,))
        report = export_clips(database, settings_, EVENT)
        assert "stashed" in {clip.conversation_id for clip in report.clips}
        assert "flagged" in {one.conversation_id for one in iter_flagged(database)}
        assert "flagged" in {card.key.conversation_id for card in find_cards(database, ["event"])}
        with Leases(database, ["event_v1"]) as leases:
            pending = list(Work(database, {"event": "event_v1"}, leases, limit=None))
            leases.finish(pending)
        new = [one for one in pending if one.conversation_id == "new"]
        assert [len(list(version_windows(database, one, settings_.clips))) for one in new] == [1]


@given(version)
def test_a_version_of_wild_types_has_words_with_times_that_are_numbers(document: dict[str, Any]):
    parsed = parse_version(document | {"version_id": "v1"})
    times = [time for one in (*parsed.words, *parsed.segments) for time in (one.start, one.end) if time is not None]
    assert all(isinstance(time, float) and abs(time) < float("inf") for time in times)


def test_a_huge_array_of_words_is_read_in_a_moment():
    words = [{"word": "a", "start": number * 0.1, "end": number * 0.1 + 0.1} for number in range(200_000)]
    assert len(parse_version({"version_id": "v1", "words": words}).words) == 200_000


@pytest.mark.parametrize(
    "transcript", ["\x00 \x1b[31m <event>", "\u202e<event>\u2028", "\x00", "<event>", "<event>" * 300, "a" * 10**6]
)
def test_an_odd_transcript_becomes_a_clip_or_is_set_aside_and_never_just_disappears(
    mongodb_uri: str, tmp_path: Path, transcript: str
):
    with household(mongodb_uri) as database:
        chunks = [{"chunk_index": 0, "audio_data": SOUND}]
        id_ = add_conversation(database, conversation_id="odd", chunks=chunks)
        add_stash_entry(database, id_, transcript=transcript)
        settings_ = Settings(data_dir=tmp_path, base_model=str(tmp_path / "none"), events=(EVENT,))
        report = export_clips(database, settings_, EVENT)
        assert len(report.clips) + len(report.rejects) == 2
