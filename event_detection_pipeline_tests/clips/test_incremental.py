"""A second export makes what is new or changed, and nothing else."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from event_detection_pipeline.clips.checks import check_audio
from event_detection_pipeline.clips.export import (
    ClipReport,
    NoAudioFound,
    OtherDatabase,
    export_clips,
    index_path,
    write_training_manifest,
)
from event_detection_pipeline.clips.index import BrokenIndex
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry
from event_detection_pipeline_tests.sounds import encode, tone

Mongo = Database[dict[str, Any]]


@pytest.fixture
def stash(database: Mongo) -> list[str]:
    return [add_stash_entry(database, add_conversation(database, seconds=1.0)) for _ in range(3)]


def test_nothing_new_makes_nothing(database: Mongo, settings: Settings, event: EventSettings, stash: list[str]):
    first = export_clips(database, settings, event)
    times = {clip.audio: Path(clip.audio).stat().st_mtime_ns for clip in first.clips}
    second = export_clips(database, settings, event)
    assert (first.made, second.made) == (3, 0)
    assert second.lines == first.lines
    assert times == {clip.audio: Path(clip.audio).stat().st_mtime_ns for clip in second.clips}


def test_new_edited_and_retracted_entries_are_told_apart(
    database: Mongo, settings: Settings, event: EventSettings, stash: list[str]
):
    export_clips(database, settings, event)
    write_training_manifest(settings, event, min_samples=0)
    documents = list(database["training_stash"].find())
    database["training_stash"].update_one({"_id": documents[0]["_id"]}, {"$set": {"transcript": "oh <sneeze>"}})
    database["training_stash"].delete_one({"_id": documents[1]["_id"]})
    add_stash_entry(database, add_conversation(database, seconds=1.0))
    assert export_clips(database, settings, event).made == 2
    changes = write_training_manifest(settings, event, min_samples=0).changes
    one = {"training_stash": 1}
    assert (changes.added, changes.edited, changes.retracted) == (one, one, one)


def test_a_mistyped_database_costs_no_clip(database: Mongo, settings: Settings, event: EventSettings, stash: list[str]):
    clips = export_clips(database, settings, event).clips
    with pytest.raises(OtherDatabase, match="MONGODB_DATABASE"):
        export_clips(database.client["mistyped"], settings, event)
    assert "mistyped" not in database.client.list_database_names()
    assert all(Path(clip.audio).is_file() for clip in clips)
    assert export_clips(database, settings, event).made == 0


def test_other_settings_make_everything_anew(
    database: Mongo, settings: Settings, event: EventSettings, stash: list[str]
):
    export_clips(database, settings, event)
    clips = settings.clips.model_copy(update={"test_fraction": 0.4})
    assert export_clips(database, settings.model_copy(update={"clips": clips}), event).made == 3


def test_a_lost_file_is_made_again(database: Mongo, settings: Settings, event: EventSettings, stash: list[str]):
    lost, empty, _ = (Path(clip.audio) for clip in export_clips(database, settings, event).clips)
    lost.unlink()
    empty.write_bytes(b"")
    assert export_clips(database, settings, event).made == 2
    assert lost.is_file() and empty.stat().st_size > 1000


@pytest.fixture
def sneezed(database: Mongo) -> str:
    """A conversation of 40 s with a sneeze in the stash: more than one clip."""
    words = [{"word": f"w{second}", "start": second + 0.1, "end": second + 0.7} for second in range(40)]
    text = " ".join(word["word"] for word in words)
    chunks = [{"chunk_index": index, "audio_data": encode(tone(10.0)), "duration": 10.0} for index in range(4)]
    id_ = add_conversation(database, chunks=chunks, words=words, transcript=text)
    add_stash_entry(database, id_, transcript=text.replace("w20", "w20 <sneeze>"))
    return id_


def with_other_windows(settings: Settings) -> Settings:
    return settings.model_copy(update={"clips": settings.clips.model_copy(update={"target_seconds": 6.0})})


def remove_audio(database: Mongo) -> None:
    """As Chronicle does."""
    database["audio_chunks"].update_many({}, {"$set": {"deleted": True}})


def test_clips_outlive_the_audio_they_were_cut_from(
    database: Mongo, settings: Settings, event: EventSettings, sneezed: str
):
    before = export_clips(database, settings, event)
    remove_audio(database)
    first, *others = before.clips
    Path(first.audio).write_bytes(b"")
    for again in (settings, with_other_windows(settings), with_other_windows(settings)):
        report = export_clips(database, again, event)
        assert (report.clips, report.kept, report.rejects) == (tuple(others), 1, ())
    assert all(Path(clip.audio).is_file() for clip in others)
    database["audio_chunks"].update_many({}, {"$set": {"deleted": False}})
    report = export_clips(database, with_other_windows(settings), event)
    assert (report.made, report.kept) == (1, 0)
    assert max(clip.duration for clip in report.clips) < min(clip.duration for clip in before.clips)


def other_answer(database: Mongo) -> None:
    database["training_stash"].update_one({}, {"$set": {"transcript": "w19 w20 w21"}})


def deleted_conversation(database: Mongo) -> None:
    database["conversations"].update_one(
        {"transcript_versions.words.39": {"$exists": True}}, {"$set": {"deleted": True}}
    )


def removed_conversation(database: Mongo) -> None:
    database["conversations"].delete_one({"transcript_versions.words.39": {"$exists": True}})


@pytest.mark.parametrize("change", [other_answer, deleted_conversation, removed_conversation])
def test_clips_that_say_what_nobody_says_any_more_go_also_if_no_audio_is_left(
    database: Mongo, settings: Settings, event: EventSettings, sneezed: str, change: Callable[[Mongo], None]
):
    before = export_clips(database, settings, event).clips
    remove_audio(database)
    change(database)
    add_stash_entry(database, add_conversation(database, seconds=1.0))
    report = export_clips(database, with_other_windows(settings), event)
    assert [clip.conversation_id == sneezed for clip in report.clips] == [False]
    assert [reject.conversation_id for reject in report.rejects] == [sneezed]
    assert not any(Path(clip.audio).exists() for clip in before)


def test_another_tag_leaves_no_clip_with_the_old_one(
    database: Mongo, settings: Settings, event: EventSettings, sneezed: str
):
    export_clips(database, settings, event)
    remove_audio(database)
    renamed = event.model_copy(update={"source_tag": "<achoo>"})
    with pytest.raises(NoAudioFound):
        export_clips(database, settings.model_copy(update={"events": (renamed,)}), renamed)


def test_data_that_was_moved_is_not_made_again(
    database: Mongo, settings: Settings, event: EventSettings, sneezed: str, tmp_path: Path
):
    before = export_clips(database, settings, event)
    moved = settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    settings.data_dir.rename(moved.data_dir)
    report = export_clips(database, moved, event)
    assert report.made == 0
    assert [Path(clip.audio) for clip in report.clips] == [
        moved.audio_dir / Path(clip.audio).name for clip in before.clips
    ]
    assert check_audio(report.clips).passed


def test_audio_that_comes_late_is_found_by_the_next_export(database: Mongo, settings: Settings, event: EventSettings):
    id_ = add_conversation(database, chunks=[])
    add_stash_entry(database, id_)
    with pytest.raises(NoAudioFound):
        export_clips(database, settings, event)
    chunk = {"conversation_id": id_, "chunk_index": 0, "audio_data": encode(tone(1.0))}
    database["audio_chunks"].insert_one(chunk)
    assert len(export_clips(database, settings, event).clips) == 1


def test_an_export_that_was_stopped_goes_on_where_it_was(
    database: Mongo, settings: Settings, event: EventSettings, stash: list[str]
):
    class Stopped(Exception):
        pass

    def stop_after_two(done: int, _total: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        export_clips(database, settings, event, stop_after_two)
    report = export_clips(database, settings, event)
    assert (report.made, len(report.clips)) == (1, 3)


def test_what_one_event_cuts_is_not_swept_away_by_another(
    database: Mongo, settings: Settings, event: EventSettings, stash: list[str]
):
    doorbell = settings.event("doorbell")
    others: list[Future[ClipReport]] = []
    with ThreadPoolExecutor() as pool:

        def export_the_other(done: int, _total: int) -> None:
            if done == 1:
                others.append(pool.submit(export_clips, database, settings, doorbell))
                assert not wait(others, timeout=0.5).done

        export_clips(database, settings, event, export_the_other)
    assert others[0].result().made == 3


def test_an_index_that_cannot_be_opened_is_not_to_be_removed(
    database: Mongo, settings: Settings, event: EventSettings, stash: list[str]
):
    index_path(settings).mkdir(parents=True)
    with pytest.raises(BrokenIndex, match=r"clips\.sqlite: unable to open database file$"):
        export_clips(database, settings, event)


def test_a_broken_index_says_what_to_do(database: Mongo, settings: Settings, event: EventSettings, stash: list[str]):
    export_clips(database, settings, event)
    for file in settings.data_dir.glob("clips.sqlite*"):
        file.write_bytes(b"no database" * 1000)
    with pytest.raises(BrokenIndex, match="remove the file"):
        export_clips(database, settings, event)


def test_many_entries_in_several_processes_make_the_same_as_in_one(
    database: Mongo, settings: Settings, event: EventSettings
):
    audio = [{"chunk_index": 0, "audio_data": encode(tone(1.0))}]
    for _ in range(70):
        add_stash_entry(database, add_conversation(database, chunks=audio))
    settings = settings.model_copy(update={"clips": settings.clips.model_copy(update={"processes": 2})})
    seen: list[tuple[int, int]] = []
    several = export_clips(database, settings, event, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 70) for done in range(1, 71)]
    (settings.data_dir / "clips.sqlite").unlink()
    settings = settings.model_copy(update={"clips": settings.clips.model_copy(update={"processes": 1})})
    assert export_clips(database, settings, event).lines == several.lines
