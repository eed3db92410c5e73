"""What was made of a conversation can be taken back, and nothing of the others."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymongo.database import Database

from event_detection_pipeline.adapters.provenance import CONVERSATIONS_FILE, write_conversations
from event_detection_pipeline.adapters.store import open_store
from event_detection_pipeline.clips.export import (
    export_clips,
    manifest_path,
    nobody_else_exports,
    write_training_manifest,
)
from event_detection_pipeline.clips.manifest import read_manifest
from event_detection_pipeline.clips.recordings import add_recordings
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline.config import AdapterSettings, EventSettings, Settings
from event_detection_pipeline.forget import forget
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry

Mongo = Database[dict[str, Any]]


@pytest.fixture
def event() -> EventSettings:
    return EventSettings(name="sneeze")


@pytest.fixture
def settings(tmp_path: Path, event: EventSettings) -> Settings:
    return Settings(data_dir=tmp_path / "data", base_model=str(tmp_path / "no-model"), events=(event,))


def test_forgetting_leaves_nothing_of_a_conversation_and_all_of_the_others(
    database: Mongo, settings: Settings, event: EventSettings, tmp_path: Path
):
    gone, kept = (add_conversation(database, seconds=3.0) for _ in range(2))
    for conversation_id in (gone, kept):
        add_stash_entry(database, conversation_id)
        key = {"conversation_id": conversation_id, "version_id": "v", "event": event.name}
        database["event_scans"].insert_one(dict(key))
        database["event_reviews"].insert_one(dict(key))
        database["event_shadow_scans"].insert_one(key | {"adapter": "sneeze_v2"})
        database["event_scan_leases"].insert_one({"conversation_id": conversation_id, "version_id": "v"})
    recording = tmp_path / "sneeze.wav"
    recording.write_bytes(wav_bytes(np.random.default_rng(0).normal(0, 0.3, 8000).astype(np.float32)))
    add_recordings(settings, event, recording, contains_event=True)
    clips = export_clips(database, settings, event).clips
    write_training_manifest(settings, event, min_samples=0)
    settings.state_cache_dir.mkdir(parents=True)
    for name, conversations in (("sneeze_v1", (gone, kept)), ("sneeze_v2", (kept,))):
        folder = settings.adapter_dir / name
        folder.mkdir(parents=True)
        write_conversations(folder, [clip for clip in clips if clip.conversation_id in conversations])

    report = forget(database, settings, gone)

    heard_in = [clip for clip in clips if clip.conversation_id == gone]
    assert heard_in and report.clips == report.manifest_lines == len(heard_in)
    assert (report.stash_entries, report.scans, report.reviews) == (1, 2, 1)
    assert report.adapters == ("sneeze_v1",)
    assert report.still_in_chronicle
    assert not any(Path(clip.audio).exists() for clip in heard_in)
    assert not settings.state_cache_dir.exists()
    others = [clip for clip in clips if clip.conversation_id != gone]
    assert others == read_manifest(manifest_path(settings, event))
    assert all(Path(clip.audio).exists() for clip in others)
    for collection in set(database.list_collection_names()) - {"conversations", "audio_chunks"}:
        assert [one["conversation_id"] for one in database[collection].find()] == [kept]


def test_forgetting_what_nobody_knows_removes_nothing(database: Mongo, settings: Settings, event: EventSettings):
    add_stash_entry(database, add_conversation(database, seconds=1.0))
    clips = export_clips(database, settings, event).clips
    report = forget(database, settings, "nobody")
    assert (report.clips, report.manifest_lines, report.stash_entries, report.still_in_chronicle) == (0, 0, 0, False)
    assert all(Path(clip.audio).exists() for clip in clips)


def test_what_is_forgotten_while_an_export_makes_clips_of_it_does_not_come_back(
    database: Mongo, settings: Settings, event: EventSettings
):
    for conversation_id in ("kept", "gone"):
        add_stash_entry(database, add_conversation(database, conversation_id=conversation_id, seconds=1.0))
    with ThreadPoolExecutor() as pool:
        forgetting = []

        def forget_the_next(done: int, _total: int) -> None:
            if done == 1:
                forgetting.append(pool.submit(forget, database, settings, "gone"))
                wait(forgetting, timeout=1)

        export_clips(database, settings, event, forget_the_next)
        assert forgetting[0].result().stash_entries == 1
    write_training_manifest(settings, event, min_samples=0)
    assert [clip.conversation_id for clip in read_manifest(manifest_path(settings, event))] == ["kept"]
    assert [file.name for file in settings.audio_dir.iterdir()] == ["kept.wav"]


@pytest.mark.parametrize(
    "action",
    [
        lambda database, settings, event: export_clips(database, settings, event),
        lambda _database, settings, event: write_training_manifest(settings, event, min_samples=0),
        lambda database, settings, _event: forget(database, settings, "gone"),
    ],
    ids=["export", "manifest", "forget"],
)
def test_exports_manifests_and_forgetting_wait_for_each_other(
    database: Mongo, settings: Settings, event: EventSettings, action: Callable[..., object]
):
    add_stash_entry(database, add_conversation(database, seconds=1.0))
    with ThreadPoolExecutor() as pool:
        with nobody_else_exports(settings):
            waiting = pool.submit(action, database, settings, event)
            assert not wait([waiting], timeout=0.5).done
        waiting.result()


def test_an_adapter_that_another_machine_trained_is_named_and_not_fetched(
    database: Mongo, settings: Settings, tmp_path: Path
):
    shared = AdapterSettings(url=(tmp_path / "shared").as_uri())
    here, there = (
        settings.model_copy(update={"adapters": shared, "data_dir": tmp_path / machine})
        for machine in ("here", "there")
    )
    for conversation_id in ("gone", "kept"):
        with open_store(there).new_version("sneeze") as (_, folder):
            (folder / CONVERSATIONS_FILE).write_text(f"{conversation_id}\n")
    assert forget(database, here, "gone").adapters == ("sneeze_v1",)
    assert not list(here.adapter_dir.glob("sneeze_v*"))


def test_no_file_says_any_more_that_there_was_such_a_conversation(
    database: Mongo, settings: Settings, event: EventSettings
):
    kept = add_conversation(database, chunks=[])
    set_aside = add_conversation(database, conversation_id="gone-and-silent", chunks=[])
    cut = add_conversation(database, conversation_id="gone-and-heard", seconds=1.0)
    for conversation_id in (kept, set_aside, cut):
        add_stash_entry(database, conversation_id)
    report = export_clips(database, settings, event)
    write_training_manifest(settings, event, min_samples=0)
    (settings.audio_dir / f"{cut}_0-900.wav").write_bytes(b"what an export had cut when it was killed")
    evaluation = settings.evaluation_dir / "sneeze_v1.json"
    clips = [str(settings.audio_dir / name) for name in (f"{cut}.wav", f"{cut}_0-900.wav", f"{kept}.wav")]
    evaluation.parent.mkdir()
    evaluation.write_text(json.dumps({"clips": clips, "verdict": {"reason": f"wrong, such as {clips[0]}"}}))
    for conversation_id in (set_aside, cut):
        forget(database, settings, conversation_id)
    left = [file for file in settings.data_dir.rglob("*") if file.is_file()]
    assert [file for file in left if "gone-and" in file.name or b"gone-and" in file.read_bytes()] == []
    named = [Path(clip).name for clip in json.loads(evaluation.read_text())["clips"]]
    assert named == ["forgotten.wav", "forgotten_0-900.wav", f"{kept}.wav"]
    assert [json.loads(line)["conversation_id"] for line in report.rejects_path.read_text().splitlines()] == [kept]
