"""Documents are read whatever odd form the app stored them in."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.chronicle.documents import (
    MalformedDocument,
    Word,
    parse_conversation,
    parse_date,
    parse_stash_entry,
    parse_version,
)

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["transcript", "words", "segments", "maybe_anomaly", "created_at", "title", "deleted", "user_id", "reason"]
NAMES += ["rejected_reason", "verified_at", "active_transcript_version", "transcript_versions", "timestamp"]


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.timestamp(),
        int(NOON.timestamp()),
        NOON.timestamp() * 1000,
        "2025-03-01T12:00:00Z",
        "2025-03-01T13:00:00+01:00",
        "2025-03-01T12:00:00",
    ],
)
def test_a_date_of_any_form_is_the_same_moment_in_utc(value: object):
    assert parse_date(value) == NOON
    assert parse_date(value).tzinfo == UTC  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize("value", [None, "", "yesterday", float("nan"), 1e300, True, [], {}])
def test_what_is_no_date_is_none(value: object):
    assert parse_date(value) is None


@pytest.mark.parametrize("transcript", ["hello", {"text": "hello"}, {"transcript": " hello "}])
def test_a_transcript_is_text_also_where_it_was_a_dict(transcript: object):
    assert parse_version({"version_id": "v", "transcript": transcript}).transcript == "hello"


@pytest.mark.parametrize("transcript", [None, 3, [], {"text": None}, {}])
def test_a_transcript_that_is_none_is_empty(transcript: object):
    assert parse_version({"version_id": "v", "transcript": transcript}).transcript == ""


def test_words_keep_their_times_and_those_without_keep_their_place():
    words = [{"word": "a", "start": 0, "end": 0.5, "speaker": 1}, {"word": "b"}, {"start": 1.0}, None, {"text": "c"}]
    parsed = parse_version({"version_id": "v", "words": words}).words
    assert parsed == (Word("a", 0.0, 0.5), Word("b", None, None), Word("c", None, None))


def test_words_that_only_the_segments_have_are_found_there():
    segments = [
        {"text": "a b", "words": [{"word": "a", "start": 1, "end": 2}]},
        {"words": [{"word": "b"}]},
        {"text": 1},
    ]
    assert [word.text for word in parse_version({"version_id": "v", "segments": segments}).words] == ["a", "b"]


@pytest.mark.parametrize("segments", [None, "text", {"0": {}}, 7])
def test_segments_that_are_no_list_are_none(segments: object):
    assert parse_version({"version_id": "v", "segments": segments}).segments == ()


def test_a_segment_may_have_a_number_for_its_speaker_and_be_an_event():
    segments = [{"start": 1, "end": 2.5, "text": "[sneeze]", "speaker": 0, "segment_type": "event"}, {"text": "hi"}]
    event, speech = parse_version({"version_id": "v", "segments": segments}).segments
    assert (event.start, event.end, event.speaker, event.kind) == (1.0, 2.5, "0", "event")
    assert (speech.start, speech.speaker, speech.kind) == (None, None, "speech")


@pytest.mark.parametrize(
    ("stored", "flag"),
    [(True, True), (False, False), (None, None), ("verified", "verified"), ("rejected", "rejected"), ("yes", None)],
)
def test_a_flag_is_what_the_app_means_by_it(stored: object, flag: object):
    assert parse_version({"version_id": "v", "maybe_anomaly": stored}).maybe_anomaly is flag


def test_a_conversation_leaves_out_versions_that_are_none():
    versions = [None, {}, {"version_id": ""}, {"version_id": "v2", "transcript": "hi"}]
    document = {
        "conversation_id": "c",
        "active_transcript_version": "v2",
        "transcript_versions": versions,
        "title": None,
    }
    conversation = parse_conversation(document)
    assert conversation.active_version is not None
    assert conversation.active_version.transcript == "hi"
    assert (conversation.title, conversation.deleted, len(conversation.versions)) == ("", False, 1)


@pytest.mark.parametrize("name", ["transcript_version_id", "version_id"])
def test_a_stash_entry_names_its_version_by_either_name(name: str):
    entry = parse_stash_entry({"_id": 1, "conversation_id": "c", name: "v", "timestamp": NOON.timestamp()})
    assert (entry.version_id, entry.created_at) == ("v", NOON)


def test_what_cannot_be_used_at_all_is_named():
    with pytest.raises(MalformedDocument, match=r"training_stash document 5: conversation_id"):
        parse_stash_entry({"_id": 5, "conversation_id": None})
    with pytest.raises(MalformedDocument, match="version_id"):
        parse_version({"transcript": "hi"})
    with pytest.raises(MalformedDocument, match=r"conversations document 6"):
        parse_conversation({"_id": 6})


@given(st.dictionaries(st.sampled_from(NAMES), anything))
def test_no_value_of_any_field_breaks_reading(fields: dict[str, object]):
    parse_conversation({"conversation_id": "c", **fields})
    inside = parse_conversation({"conversation_id": "c", "transcript_versions": [{**fields, "version_id": "v"}]})
    assert inside.conversation_id == "c" and [version.version_id for version in inside.versions] == ["v"]
    assert parse_stash_entry({**fields, "conversation_id": "c"}).conversation_id == "c"
