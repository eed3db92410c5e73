"""A manifest is the same bytes for the same clips, and what is broken in it is named by its line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.clips.changes import compare
from event_detection_pipeline.clips.manifest import (
    BrokenManifest,
    Clip,
    ClipWord,
    clip_line,
    manifest_digest,
    parse_clip,
    read_manifest,
    write_manifest,
)
from event_detection_pipeline.clips.splits import split_of

CLIP = Clip(audio="/a/c.wav", text="oh <sneeze>", timestamp="2025-03-01T12:00:00+00:00", type="positive")
ORIGINAL = {
    "audio": "/data/audio/1234.wav",
    "text": "oh <sneeze>",
    "timestamp": "2025-03-01T12:00:00Z",
    "type": "positive",
}


def clips() -> st.SearchStrategy[Clip]:
    seconds = st.floats(0, 30)
    words = st.lists(st.builds(ClipWord, st.text(), seconds, seconds), max_size=3).map(tuple)
    return st.builds(
        Clip,
        audio=st.text(),
        text=st.text(),
        timestamp=st.text(),
        type=st.text(),
        contains_event=st.booleans(),
        split=st.sampled_from(["train", "validation", "test"]),
        duration=seconds,
        conversation_id=st.text(min_size=1),
        words=words,
        event_time=st.none() | seconds,
    )


@given(clips())
def test_a_clip_is_one_line_and_comes_back_from_it(clip: Clip):
    line = clip_line(clip)
    assert "\n" not in line
    assert parse_clip(line, "here") == clip


def test_separators_that_are_no_line_ends_do_not_break_lines(tmp_path: Path):
    clip = parse_clip(json.dumps(ORIGINAL | {"text": "one\u2028two\x85three"}), "here")
    write_manifest(tmp_path / "m.jsonl", [clip])
    assert read_manifest(tmp_path / "m.jsonl") == [clip]


def test_the_same_clips_leave_the_file_untouched(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    digest = write_manifest(path, [CLIP])
    before = path.stat().st_mtime_ns
    assert write_manifest(path, [CLIP]) == digest == manifest_digest(path)
    assert path.stat().st_mtime_ns == before
    assert write_manifest(path, [CLIP, CLIP]) != digest
    assert [file.name for file in tmp_path.iterdir()] == ["m.jsonl"]


def test_lines_of_the_original_export_are_completed(tmp_path: Path):
    (tmp_path / "m.jsonl").write_text(json.dumps(ORIGINAL) + "\n\n" + json.dumps(ORIGINAL | {"text": "oh"}) + "\n")
    one, other = read_manifest(tmp_path / "m.jsonl", source_tag="<sneeze>")
    assert (one.contains_event, other.contains_event) == (True, False)
    assert one.conversation_id == "1234"
    assert one.split == other.split == split_of("1234", 0.15, 0.15)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "one JSON object"),
        ('{"audio": "a"}', "text: "),
        (json.dumps(ORIGINAL | {"split": "tests"}), "split: "),
        (json.dumps(ORIGINAL | {"words": [{"word": "a"}]}), r"words\.0\.start: "),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(ORIGINAL) + "\n" + line + "\n")
    with pytest.raises(BrokenManifest, match=rf"m\.jsonl:2: .*{message}"):
        read_manifest(path)


def test_a_missing_manifest_says_what_writes_it(tmp_path: Path):
    with pytest.raises(BrokenManifest, match="event-detection export"):
        read_manifest(tmp_path / "m.jsonl")


def test_hugging_face_datasets_reads_it(tmp_path: Path):
    from datasets import Audio, load_dataset

    clips = [CLIP, replace(CLIP, audio="/a/d.wav", words=(ClipWord("oh", 0.0, 0.5),), event_time=1.5)]
    write_manifest(tmp_path / "m.jsonl", clips)
    data = load_dataset("json", data_files=str(tmp_path / "m.jsonl"), split="train", cache_dir=str(tmp_path / "cache"))
    data = data.cast_column("audio", Audio(sampling_rate=16_000, decode=False))
    assert [row["audio"]["path"] for row in data] == [clip.audio for clip in clips]  # pyright: ignore
    assert data[1]["words"][0] == {"word": "oh", "start": 0.0, "end": 0.5}  # pyright: ignore


def test_changes_are_counted_by_source():
    lines = [clip_line(Clip(f"/a/{n}.wav", "hello", "t", "positive", source="stash")) for n in range(4)]
    edited = lines[0].replace("hello", "oh <sneeze>")
    added = clip_line(Clip("/a/9.wav", "hello", "t", "mixed", source="mix"))
    changes = compare(["broken", *lines], [edited, *lines[2:], added])
    assert (changes.added, changes.edited, changes.retracted) == ({"mix": 1}, {"stash": 1}, {"stash": 1})


def test_of_two_versions_of_one_recording_each_is_counted():
    lines = [clip_line(replace(CLIP, source="stash", version_id=version)) for version in ("v1", "v2")]
    assert compare([], lines).added == {"stash": 2}
    changes = compare(lines, lines[:1])
    assert (changes.added, changes.edited, changes.retracted) == ({}, {}, {"stash": 1})


@given(st.text(), st.floats(0.01, 0.4), st.floats(0.01, 0.4), st.floats(0.01, 0.4))
def test_a_test_conversation_stays_one_whatever_the_validation_fraction(id_: str, one: float, two: float, test: float):
    assert (split_of(id_, one, test) == "test") == (split_of(id_, two, test) == "test")


def test_splits_have_about_their_shares():
    splits = [split_of(f"conversation {number}", 0.15, 0.2) for number in range(4000)]
    assert abs(splits.count("test") / 4000 - 0.2) < 0.03
    assert abs(splits.count("validation") / 4000 - 0.15) < 0.03
