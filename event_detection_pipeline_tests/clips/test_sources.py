"""Every way of saying something about a conversation becomes a clip, and taking it back takes the clip away."""

import base64
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import CommandListener, CommandStartedEvent

from event_detection_pipeline.clips.export import EmptyStash, export_clips
from event_detection_pipeline.clips.manifest import Clip
from event_detection_pipeline.clips.sources import list_candidates
from event_detection_pipeline.config import Settings
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry, timed
from event_detection_pipeline_tests.sounds import encode, tone

Mongo = Database[dict[str, Any]]


def export(database: Mongo, settings: Settings, name: str = "sneeze") -> tuple[Clip, ...]:
    return export_clips(database, settings, settings.event(name)).clips


def version_of(conversation_id: str, event: str = "sneeze") -> dict[str, Any]:
    return {"conversation_id": conversation_id, "version_id": f"{conversation_id}-v1", "event": event}


def flag(database: Mongo, conversation_id: str, value: object) -> None:
    update = {"$set": {"transcript_versions.0.maybe_anomaly": value}}
    database["conversations"].update_one({"conversation_id": conversation_id}, update)


def test_of_a_version_stashed_twice_the_newest_entry_counts(database: Mongo, settings: Settings):
    id_ = add_conversation(database)
    add_stash_entry(database, id_, transcript="newest <sneeze>", created_at="2025-03-09T00:00:00Z")
    old = {"transcript": "oldest", "created_at": "2025-03-01T00:00:00Z", "transcript_version_id": None}
    add_stash_entry(database, id_, **old, version_id=f"{id_}-v1")
    assert [clip.text for clip in export(database, settings)] == ["newest <sneeze>"]


def test_two_versions_of_a_conversation_are_two_clips_in_one_split(database: Mongo, settings: Settings):
    id_ = add_conversation(database)
    add_stash_entry(database, id_)
    add_stash_entry(database, id_, transcript_version_id="another", transcript="hello dear")
    clips = export(database, settings)
    assert sorted(clip.text for clip in clips) == ["hello dear", "hello there"]
    assert len({clip.split for clip in clips}) == 1


def test_a_review_counts_for_its_own_event(database: Mongo, settings: Settings):
    id_ = add_conversation(database, transcript="oh dear")
    database["event_reviews"].insert_one(version_of(id_) | {"answer": "accepted", "time": 2.5})
    database["event_reviews"].insert_one(version_of(id_, "doorbell") | {"answer": "rejected"})
    (sneeze,) = export(database, settings)
    (doorbell,) = export(database, settings, "doorbell")
    assert (sneeze.text, sneeze.contains_event, sneeze.type, sneeze.event_time) == (
        "oh dear <sneeze>",
        True,
        "verified",
        2.5,
    )
    assert (doorbell.text, doorbell.contains_event, doorbell.type) == ("oh dear", False, "negative")


def test_where_a_person_heard_it_goes_before_where_the_scan_did(database: Mongo, settings: Settings):
    id_ = add_conversation(database, transcript="oh dear")
    database["event_scans"].insert_one(version_of(id_) | {"flagged": True, "time": 4.0})
    database["event_reviews"].insert_one(version_of(id_) | {"answer": "accepted", "time": 2.5})
    assert [clip.event_time for clip in export(database, settings)] == [2.5]


def test_a_time_after_the_end_of_the_audio_is_none(database: Mongo, settings: Settings):
    id_ = add_conversation(database, transcript="oh dear", words=timed(("oh", 0.5), ("dear", 1.5)))
    database["event_reviews"].insert_one(version_of(id_) | {"answer": "accepted", "time": 60.0})
    assert [(clip.text, clip.event_time) for clip in export(database, settings)] == [("oh dear <sneeze>", None)]


def test_a_clip_without_the_event_has_no_time_of_it(database: Mongo, settings: Settings):
    id_ = add_conversation(database)
    database["event_scans"].insert_one(version_of(id_) | {"flagged": True, "time": 2.0})
    add_stash_entry(database, id_)
    assert [(clip.contains_event, clip.event_time) for clip in export(database, settings)] == [(False, None)]


def test_an_event_that_may_be_anywhere_in_a_long_pause_has_no_time(database: Mongo, settings: Settings):
    id_ = add_conversation(database, seconds=12.0, words=timed(("hello", 0.5), ("there", 11.0)))
    add_stash_entry(database, id_, transcript="hello <sneeze> there")
    assert [(clip.contains_event, clip.event_time) for clip in export(database, settings)] == [(True, None)]


def test_a_tag_that_a_person_wrote_is_not_doubled_where_they_heard_it(database: Mongo, settings: Settings):
    words = timed(("hello", 0.5), ("there", 1.5), ("oh", 9.5), ("dear", 10.5))
    id_ = add_conversation(database, seconds=12.0, words=words, transcript="hello there oh dear")
    review = {"answer": "accepted", "transcript": "hello <sneeze> there oh dear", "time": 11.2}
    database["event_reviews"].insert_one(version_of(id_) | review)
    assert [clip.text for clip in export(database, settings)] == ["hello <sneeze> there oh dear"]


def test_when_it_was_stashed_goes_before_when_it_was_answered(database: Mongo, settings: Settings):
    id_ = add_conversation(database)
    review = {"answer": "rejected", "reviewed_at": "2025-05-01T00:00:00Z"}
    database["event_reviews"].insert_one(version_of(id_) | review)
    add_stash_entry(database, id_, created_at="2025-04-01T00:00:00Z")
    assert [clip.timestamp for clip in export(database, settings)] == ["2025-04-01T00:00:00+00:00"]


def test_a_review_says_what_was_really_said(database: Mongo, settings: Settings):
    id_ = add_conversation(database, transcript="old dear")
    review = {"answer": "accepted", "transcript": "oh <sneeze> dear"}
    database["event_reviews"].insert_one(version_of(id_) | review)
    assert [clip.text for clip in export(database, settings)] == ["oh <sneeze> dear"]


@pytest.mark.parametrize("time", [2.0, None])
def test_who_empties_a_transcript_says_that_nothing_is_said(database: Mongo, settings: Settings, time: float | None):
    heard = "Thank you for watching."
    accepted, rejected, stashed = (add_conversation(database, transcript=heard) for _ in range(3))
    for id_, answer in ((accepted, "accepted"), (rejected, "rejected"), (stashed, "rejected")):
        review = {"answer": answer, "transcript": "", "time": time}
        database["event_reviews"].insert_one(version_of(id_) | review)
    add_stash_entry(database, stashed, transcript="")
    texts = {clip.conversation_id: (clip.text, clip.contains_event) for clip in export(database, settings)}
    assert texts == {accepted: ("<sneeze>", True), rejected: ("", False), stashed: ("", False)}


def test_an_entry_without_a_text_says_what_the_recogniser_heard(database: Mongo, settings: Settings):
    segments = [{"start": 0.5, "end": 2.0, "text": "hello there"}]
    add_stash_entry(database, add_conversation(database, transcript="oh dear"), transcript=None)
    add_stash_entry(database, add_conversation(database, transcript="", segments=segments), transcript="")
    assert sorted(clip.text for clip in export(database, settings)) == ["hello there", "oh dear"]


def test_notes_of_the_app_are_not_spoken(database: Mongo, settings: Settings):
    segments = [
        {"start": 0.0, "end": 2.0, "text": "oh dear"},
        {"start": 2.0, "end": 2.0, "text": "recording paused", "segment_type": "note"},
    ]
    add_stash_entry(database, add_conversation(database, transcript="", segments=segments), transcript="")
    assert [clip.text for clip in export(database, settings)] == ["oh dear"]


def test_a_transcript_that_is_edited_in_chronicle_makes_another_clip(database: Mongo, settings: Settings):
    reviewed, verified = add_conversation(database), add_conversation(database)
    database["event_reviews"].insert_one(version_of(reviewed) | {"answer": "accepted"})
    database["event_scans"].insert_one(version_of(verified) | {"flagged": True, "time": None})
    flag(database, verified, "verified")
    assert {clip.text for clip in export(database, settings)} == {"hello there <sneeze>"}
    for id_ in (reviewed, verified):
        update = {"$set": {"transcript_versions.0.transcript": f"well <sneeze> {id_}"}}
        database["conversations"].update_one({"conversation_id": id_}, update)
    report = export_clips(database, settings, settings.event("sneeze"))
    assert {clip.text for clip in report.clips} == {f"well <sneeze> {reviewed}", f"well <sneeze> {verified}"}
    assert export_clips(database, settings, settings.event("sneeze")).made == 0


def test_what_a_person_rejected_has_no_tag_even_if_the_recogniser_wrote_one(database: Mongo, settings: Settings):
    id_ = add_conversation(database, transcript="oh [sneeze] dear")
    database["event_reviews"].insert_one(version_of(id_) | {"answer": "rejected"})
    assert [clip.text for clip in export(database, settings)] == ["oh dear"]


def test_a_rejected_flag_overrules_the_recogniser_but_not_a_tag_that_a_person_wrote(
    database: Mongo, settings: Settings
):
    id_ = add_conversation(database)
    database["event_reviews"].insert_one(version_of(id_) | {"answer": "rejected"})
    add_stash_entry(database, id_, transcript="oh [sneeze] dear")
    assert [clip.text for clip in export(database, settings)] == ["oh dear"]
    text = "oh [sneeze] dear <sneeze> me"
    database["training_stash"].update_one({}, {"$set": {"transcript": text}})
    assert [clip.text for clip in export(database, settings)] == ["oh dear <sneeze> me"]


def test_an_entry_without_a_version_speaks_of_the_active_one(database: Mongo, settings: Settings):
    words = [{"word": "hello", "start": 0.5, "end": 1.0}, {"word": "there", "start": 1.5, "end": 2.0}]
    add_stash_entry(database, add_conversation(database, words=words), transcript_version_id=None)
    (clip,) = export(database, settings)
    assert [word.word for word in clip.words] == ["hello", "there"]


def test_a_withdrawn_review_is_none(database: Mongo, settings: Settings):
    database["event_reviews"].insert_one(version_of(add_conversation(database)) | {"answer": None})
    with pytest.raises(EmptyStash):
        export(database, settings)


def test_a_flag_accepted_in_chronicle_counts_for_the_event_that_was_heard(database: Mongo, settings: Settings):
    heard, unknown = add_conversation(database, transcript="oh dear"), add_conversation(database)
    flag(database, heard, "verified")
    flag(database, unknown, "verified")
    database["event_scans"].insert_one(version_of(heard) | {"flagged": True, "time": None})
    assert [clip.conversation_id for clip in export(database, settings)] == [heard]
    with pytest.raises(EmptyStash):
        export(database, settings, "doorbell")
    alone = settings.model_copy(update={"events": (settings.event("sneeze"),)})
    assert {clip.conversation_id for clip in export(database, alone)} == {heard, unknown}


def test_an_event_that_nobody_answered_is_not_confirmed_by_another_that_somebody_accepted(
    database: Mongo, settings: Settings
):
    id_ = add_conversation(database, transcript="oh dear")
    flag(database, id_, "verified")
    for event in ("sneeze", "doorbell"):
        database["event_scans"].insert_one(version_of(id_, event) | {"flagged": True, "time": None})
    database["event_reviews"].insert_one(version_of(id_) | {"answer": "accepted"})
    assert [clip.contains_event for clip in export(database, settings)] == [True]
    with pytest.raises(EmptyStash):
        export(database, settings, "doorbell")


def test_what_was_heard_in_accepted_flags_is_asked_for_all_at_once(
    database: Mongo, mongodb_uri: str, settings: Settings
):
    for _ in range(5):
        flag(database, add_conversation(database), "verified")
    asked = Finds()
    with MongoClient(mongodb_uri, event_listeners=[asked]) as client:
        list_candidates(client[database.name], settings.event("sneeze"), settings, with_background=False)
    assert asked.collections.count("event_scans") == 1


class Finds(CommandListener):
    """Where a client looks for documents."""

    def __init__(self) -> None:
        self.collections: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "find":
            self.collections.append(event.command["find"])

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


def test_another_events_tag_makes_a_hard_negative(database: Mongo, settings: Settings):
    add_stash_entry(database, add_conversation(database), transcript="oh <sneeze> dear")
    assert [(clip.text, clip.contains_event) for clip in export(database, settings, "doorbell")] == [("oh dear", False)]


def test_what_a_recogniser_calls_the_event_is_configured(database: Mongo, settings: Settings):
    add_stash_entry(database, add_conversation(database), transcript="oh [Achoo!] dear [laughter]")
    clips = settings.clips.model_copy(update={"event_segments": {"[achoo!]": "sneeze"}})
    (clip,) = export(database, settings.model_copy(update={"clips": clips}))
    assert clip.text == "oh <sneeze> dear [laughter]"


def test_the_stashs_own_copies_serve_where_the_chunks_are_gone(database: Mongo, settings: Settings):
    id_ = add_conversation(database, chunks=[])
    copies = [{"chunk_index": n, "audio_data": base64.b64encode(encode(tone(2.0))).decode()} for n in range(2)]
    add_stash_entry(database, id_, audio_chunks=copies)
    (clip,) = export(database, settings)
    assert (clip.duration, Path(clip.audio).name) == (4.0, f"{id_}.wav")


def test_an_existing_wav_file_serves_where_mongodb_has_no_audio(database: Mongo, settings: Settings):
    id_ = add_conversation(database, chunks=[])
    add_stash_entry(database, id_)
    file = settings.audio_dir / f"{id_}.wav"
    file.parent.mkdir(parents=True)
    file.write_bytes(encode(tone(3.0), codec="pcm_s16le", container="wav"))
    (clip,) = export(database, settings)
    assert clip.duration == 3.0
    database["training_stash"].delete_many({})
    with pytest.raises(EmptyStash):
        export(database, settings)
    assert file.is_file() and not Path(clip.audio).is_file()


def test_a_conversation_that_chronicle_forgot_still_has_the_stash(database: Mongo, settings: Settings):
    copies = [{"chunk_index": 0, "audio_data": base64.b64encode(encode(tone(2.0))).decode()}]
    add_stash_entry(database, "forgotten", audio_chunks=copies, transcript="oh <sneeze>")
    assert [clip.text for clip in export(database, settings)] == ["oh <sneeze>"]


def test_the_segments_in_the_stash_serve_where_the_version_is_gone(database: Mongo, settings: Settings):
    copies = [{"chunk_index": 0, "audio_data": base64.b64encode(encode(tone(4.0))).decode()}]
    segments = [{"start": 1.0, "end": 1.4, "text": "[sneeze]", "segment_type": "event"}]
    add_stash_entry(database, "forgotten", audio_chunks=copies, transcript="<sneeze>", segments=segments)
    assert [clip.event_time for clip in export(database, settings)] == [1.2]


def test_a_deleted_conversation_leaves_the_clips_and_the_disk(database: Mongo, settings: Settings):
    kept, deleted = add_conversation(database), add_conversation(database)
    add_stash_entry(database, kept)
    add_stash_entry(database, deleted)
    files = {clip.conversation_id: Path(clip.audio) for clip in export(database, settings)}
    database["conversations"].update_one({"conversation_id": deleted}, {"$set": {"deleted": True}})
    report = export_clips(database, settings, settings.event("sneeze"))
    assert [clip.conversation_id for clip in report.clips] == [kept]
    assert report.rejects_by_reason == {"conversation_deleted": 1}
    assert files[kept].is_file() and not files[deleted].exists()


def test_audio_that_another_event_uses_stays(database: Mongo, settings: Settings):
    id_ = add_conversation(database, transcript="oh dear")
    for event in ("sneeze", "doorbell"):
        database["event_reviews"].insert_one(version_of(id_, event) | {"answer": "rejected"})
        (clip,) = export(database, settings, event)
    database["event_reviews"].delete_one(version_of(id_))
    with pytest.raises(EmptyStash):
        export(database, settings)
    assert Path(clip.audio).is_file()
