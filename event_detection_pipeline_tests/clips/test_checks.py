"""Each check passes on right clips and names what is wrong in wrong ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from event_detection_pipeline.clips.checks import (
    check_audio,
    check_balance,
    check_enough,
    check_label_lengths,
    check_leakage,
    check_schema,
)
from event_detection_pipeline.clips.manifest import Clip, write_manifest
from event_detection_pipeline.config import ClipSettings, EventSettings
from event_detection_pipeline_tests.sounds import encode, tone

EVENT = EventSettings(name="sneeze")


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    path = tmp_path / "c.wav"
    path.write_bytes(encode(tone(2.0), codec="pcm_s16le", container="wav"))
    return Clip(
        audio=str(path),
        text="oh <sneeze>",
        timestamp="2025-03-01T12:00:00+00:00",
        type="positive",
        event="sneeze",
        contains_event=True,
        end=2.0,
        duration=2.0,
        conversation_id="c",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": "doorbell"},
        {"contains_event": False},
        {"text": "oh"},
        {"duration": 3.0},
        {"timestamp": "yesterday"},
        {"timestamp": "2025-03-01T12:00:00"},
    ],
)
def test_a_line_that_contradicts_itself_is_found(clip: Clip, tmp_path: Path, wrong: dict[str, object]):
    path = tmp_path / "m.jsonl"
    write_manifest(path, [clip])
    assert check_schema(path, EVENT).passed
    write_manifest(path, [clip, replace(clip, **wrong)])
    result = check_schema(path, EVENT)
    assert not result.passed and result.blocking
    assert result.numbers == {"wrong": 1, "all": 2}
    assert result.examples[0].startswith("m.jsonl:2: ")


def test_a_line_that_is_no_clip_is_found(tmp_path: Path):
    (tmp_path / "m.jsonl").write_text("{}\n")
    result = check_schema(tmp_path / "m.jsonl", EVENT)
    assert not result.passed and "m.jsonl:1" in result.message


@pytest.mark.parametrize("shared", [{"conversation_id": "c"}, {"conversation_id": "d", "recording": "r"}])
def test_a_conversation_or_recording_on_both_sides_is_found(clip: Clip, shared: dict[str, str]):
    first = replace(clip, recording="r")
    alone = replace(first, conversation_id="d", recording="s", split="test")
    assert check_leakage([first, first, alone]).passed
    result = check_leakage([first, replace(first, split="test", **shared)])  # pyright: ignore[reportArgumentType]
    assert not result.passed
    assert "test, train" in result.examples[0]


def test_audio_that_is_not_what_was_written_is_found(clip: Clip, tmp_path: Path):
    other = tmp_path / "other.wav"
    other.write_bytes(encode(tone(2.0, rate=8_000), codec="pcm_s16le", container="wav", rate=8_000))
    assert check_audio([clip]).passed
    wrong = [
        replace(clip, audio=str(tmp_path / "missing.wav")),
        replace(clip, duration=2.5),
        replace(clip, audio_sha256="0" * 64),
        replace(clip, audio=str(other)),
    ]
    result = check_audio([clip, *wrong])
    assert result.numbers == {"wrong": 4, "all": 5}
    for word, example in zip(["missing", "2.5 s", "changed", "16000 Hz"], result.examples, strict=True):
        assert word in example


def test_a_text_that_whisper_cannot_write_is_found(clip: Clip):
    assert check_label_lengths([clip]).passed
    assert not check_label_lengths([clip, replace(clip, text="word " * 250)]).passed


def test_a_split_without_a_class_is_found(clip: Clip):
    clips = [
        replace(clip, split=split, contains_event=contains)
        for split in ("train", "validation", "test")
        for contains in (True, False)
    ]
    assert check_enough(clips, ClipSettings()).passed
    result = check_enough(clips[:-1], ClipSettings())
    assert not result.passed and "test: 0 clips without the event" in result.message
    assert check_enough(clips[:-1], ClipSettings(min_others_per_split=0)).passed
    assert not check_enough(clips, ClipSettings(min_events_per_split=2)).passed


def test_a_drowned_class_is_a_warning(clip: Clip):
    other = replace(clip, contains_event=False)
    assert check_balance([clip, *[other] * 10]).passed
    result = check_balance([clip, *[other] * 11])
    assert not result.passed and not result.blocking
    assert not check_balance([other] * 20).passed
    assert not check_balance([other, *[clip] * 11]).passed


def test_only_what_is_trained_on_must_be_balanced(clip: Clip):
    other = replace(clip, contains_event=False)
    assert check_balance([clip, other, *[replace(other, split="test")] * 30]).passed
