"""Stash entries become clips and a manifest; what cannot is set aside with its reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.clips.export import (
    EmptyStash,
    NoAudioFound,
    TooFewSamples,
    export_clips,
    write_training_manifest,
)
from event_detection_pipeline.clips.manifest import read_manifest
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry
from event_detection_pipeline_tests.sounds import encode, tone

SNEEZE = EventSettings(name="sneeze")


def test_a_stash_entry_becomes_a_clip_with_its_audio_and_text(database: Database[dict[str, Any]], settings: Settings):
    sneezed = add_conversation(database, seconds=3.0)
    add_stash_entry(database, sneezed, transcript="well <sneeze>  excuse me <doorbell>")
    report = export_clips(database, settings, SNEEZE)
    manifest = write_training_manifest(settings, SNEEZE, min_samples=1)
    (line,) = [json.loads(line) for line in manifest.path.read_text().splitlines()]
    assert report.rejects == ()
    assert (line["text"], line["type"], line["contains_event"]) == ("well <sneeze> excuse me", "positive", True)
    assert line["timestamp"] == "2025-03-01T12:00:00+00:00"
    assert Path(line["audio"]).name == f"{sneezed}.wav"
    samples = decode(Path(line["audio"]).read_bytes())
    assert len(samples) == 3 * 16_000
    assert np.corrcoef(samples, tone(3.0))[0, 1] > 0.9


def test_an_entry_without_the_tag_is_a_hard_negative(database: Database[dict[str, Any]], settings: Settings):
    add_stash_entry(database, add_conversation(database), transcript="nobody sneezed [sneezing]")
    (clip,) = export_clips(database, settings, SNEEZE).clips
    assert (clip.contains_event, clip.type, clip.flagged) == (False, "positive", True)


def test_what_cannot_be_used_is_set_aside_with_its_reason(database: Database[dict[str, Any]], settings: Settings):
    add_stash_entry(database, add_conversation(database))
    expected = {
        add_stash_entry(database, "", transcript="no conversation"): "malformed_document",
        add_stash_entry(database, add_conversation(database, deleted=True)): "conversation_deleted",
        add_stash_entry(database, add_conversation(database, transcript=None), transcript=None): "no_transcript",
        add_stash_entry(database, add_conversation(database, chunks=[])): "no_audio",
        add_stash_entry(
            database, add_conversation(database, chunks=[{"chunk_index": 0, "audio_data": b"noise"}])
        ): "undecodable_audio",
        add_stash_entry(
            database,
            add_conversation(database, chunks=[{"chunk_index": i, "audio_data": encode(tone(11))} for i in range(3)]),
        ): "no_times",
        add_stash_entry(
            database,
            add_conversation(
                database,
                chunks=[{"chunk_index": i, "audio_data": encode(tone(4)), "duration": 4.0} for i in (0, 2)],
            ),
        ): "audio_gap",
        add_stash_entry(database, add_conversation(database), transcript="ß" * 500): "label_too_long",
    }
    report = export_clips(database, settings, SNEEZE)
    lines = [json.loads(line) for line in report.rejects_path.read_text().splitlines()]
    assert {line["document_id"]: line["reason"] for line in lines} == expected
    assert len(report.clips) == 1


def test_a_conversation_with_a_gap_in_its_only_window_is_set_aside(
    database: Database[dict[str, Any]], settings: Settings
):
    chunks = [{"chunk_index": index, "audio_data": encode(tone(1.0)), "duration": 1.0} for index in (0, 2)]
    words = [{"word": "hello", "start": 0.1, "end": 0.5}, {"word": "there", "start": 2.1, "end": 2.5}]
    add_stash_entry(database, add_conversation(database, chunks=chunks, words=words))
    add_stash_entry(database, add_conversation(database))
    report = export_clips(database, settings, SNEEZE)
    assert [reject.reason for reject in report.rejects] == ["audio_gap"]


def test_an_event_without_a_word_is_a_clip(database: Database[dict[str, Any]], settings: Settings):
    add_stash_entry(database, add_conversation(database), transcript="<sneeze>")
    (clip,) = export_clips(database, settings, SNEEZE).clips
    assert (clip.text, clip.contains_event) == ("<sneeze>", True)


def test_an_empty_stash_says_to_swipe_left(database: Database[dict[str, Any]], settings: Settings):
    with pytest.raises(EmptyStash, match="swipe left"):
        export_clips(database, settings, SNEEZE)


def test_no_audio_at_all_says_how_many_entries_had_chunks(database: Database[dict[str, Any]], settings: Settings):
    add_stash_entry(database, add_conversation(database, chunks=[]))
    add_stash_entry(database, add_conversation(database, chunks=[{"chunk_index": 0, "audio_data": b"noise"}]))
    with pytest.raises(NoAudioFound) as raised:
        export_clips(database, settings, SNEEZE)
    assert (raised.value.entries, raised.value.with_chunks) == (2, 1)


def test_too_few_clips_leave_the_manifest_as_it_was(database: Database[dict[str, Any]], settings: Settings):
    add_stash_entry(database, add_conversation(database))
    export_clips(database, settings, SNEEZE)
    before = write_training_manifest(settings, SNEEZE, min_samples=1)
    with pytest.raises(TooFewSamples) as raised:
        write_training_manifest(settings, SNEEZE, min_samples=2)
    assert (raised.value.found, raised.value.needed) == (1, 2)
    assert len(read_manifest(before.path)) == 1


def test_a_second_export_of_the_same_stash_changes_no_byte(database: Database[dict[str, Any]], settings: Settings):
    add_stash_entry(database, add_conversation(database))
    export_clips(database, settings, SNEEZE)
    first = write_training_manifest(settings, SNEEZE, min_samples=0)
    written = first.path.stat().st_mtime_ns
    export_clips(database, settings, SNEEZE)
    second = write_training_manifest(settings, SNEEZE, min_samples=0)
    assert (second.digest, second.path.stat().st_mtime_ns) == (first.digest, written)


def test_an_id_that_is_a_path_stays_inside_the_audio_directory(database: Database[dict[str, Any]], settings: Settings):
    add_stash_entry(database, add_conversation(database, conversation_id="../../outside"))
    (clip,) = export_clips(database, settings, SNEEZE).clips
    assert Path(clip.audio).parent == settings.audio_dir.resolve()
