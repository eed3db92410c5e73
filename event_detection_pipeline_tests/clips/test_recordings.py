"""Recordings are taken in once, kept as WAV, and stay in one split for ever."""

from pathlib import Path

import numpy as np
import pytest

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.clips.recordings import NoRecordings, add_recordings, list_recordings, next_split, path_of
from event_detection_pipeline.clips.splits import Split
from event_detection_pipeline.config import ClipSettings, EventSettings, Settings
from event_detection_pipeline_tests.sounds import encode, tone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    forms = {
        "a.wav": ("pcm_s16le", "wav"),
        "b.mp3": ("mp3", "mp3"),
        "c.flac": ("flac", "flac"),
        "d.m4a": ("aac", "ipod"),
    }
    for number, (name, (codec, container)) in enumerate(forms.items()):
        sound = tone(1.0, 500 + 50 * number, rate=44_100)
        (folder / name).write_bytes(encode(sound, codec=codec, container=container, rate=44_100))
    (folder / "e.OGG").write_bytes(encode(tone(1.0, 900)))
    (folder / "notes.txt").write_text("not audio")
    return folder


def test_a_folder_of_many_formats_is_taken_in_as_wav(settings: Settings, event: EventSettings, folder: Path):
    report = add_recordings(settings, event, folder)
    assert sorted(recording.name for recording in report.added) == ["a.wav", "b.mp3", "c.flac", "d.m4a", "e.OGG"]
    for recording in list_recordings(settings, event):
        samples = decode(path_of(settings, event, recording).read_bytes())
        assert recording.seconds == pytest.approx(1.0, abs=0.1)
        assert 490 < np.abs(np.fft.rfft(samples[:16_000])).argmax() < 910


def test_five_recordings_reach_all_three_splits(settings: Settings, event: EventSettings, folder: Path):
    add_recordings(settings, event, folder)
    assert {recording.split for recording in list_recordings(settings, event)} == {"train", "validation", "test"}


def test_splits_follow_the_shares_and_stay_when_more_come(settings: Settings, event: EventSettings, folder: Path):
    before = {one.recording: one.split for one in add_recordings(settings, event, folder).added}
    (folder / "f.wav").write_bytes(encode(tone(2.0), codec="pcm_s16le", container="wav"))
    report = add_recordings(settings, event, folder)
    assert (len(report.added), report.known) == (1, 5)
    after = {one.recording: one.split for one in list_recordings(settings, event)}
    assert before.items() <= after.items()
    splits: list[Split] = []
    for _ in range(100):
        splits.append(next_split(splits, ClipSettings()))
    assert [splits.count("train"), splits.count("validation"), splits.count("test")] == [70, 15, 15]


def test_other_sounds_have_splits_of_their_own(settings: Settings, event: EventSettings, folder: Path, tmp_path: Path):
    events = add_recordings(settings, event, folder).added
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for number in range(5):
        sound = tone(1.0, 2000 + 50 * number)
        (sounds / f"{number}.wav").write_bytes(encode(sound, codec="pcm_s16le", container="wav"))
    others = add_recordings(settings, event, sounds, contains_event=False).added
    assert [one.split for one in others] == [one.split for one in events]


def test_the_last_answer_about_a_file_counts(settings: Settings, event: EventSettings, folder: Path):
    add_recordings(settings, event, folder / "a.wav")
    report = add_recordings(settings, event, folder / "a.wav", contains_event=False)
    assert (report.added, report.known) == ((), 1)
    assert [recording.contains_event for recording in list_recordings(settings, event)] == [False]


def test_a_file_that_was_removed_is_no_recording(settings: Settings, event: EventSettings, folder: Path):
    (recording,) = add_recordings(settings, event, folder / "a.wav").added
    path_of(settings, event, recording).unlink()
    assert list_recordings(settings, event) == []


def test_unusable_files_are_set_aside_with_a_reason(settings: Settings, event: EventSettings, folder: Path):
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "long.wav").write_bytes(encode(tone(31.0), codec="pcm_s16le", container="wav"))
    (folder / "silent.wav").write_bytes(encode(0 * tone(1.0), codec="pcm_s16le", container="wav"))
    report = add_recordings(settings, event, folder)
    reasons = {Path(reject.document_id).name: reject.reason for reject in report.rejects}
    assert reasons == {"broken.wav": "undecodable_audio", "long.wav": "too_long", "silent.wav": "too_short"}
    assert len(report.added) == 5


def test_nothing_usable_is_an_error_that_says_why(settings: Settings, event: EventSettings, tmp_path: Path):
    with pytest.raises(NoRecordings, match="no such file or folder"):
        add_recordings(settings, event, tmp_path / "nowhere")
    with pytest.raises(NoRecordings, match=r"no audio file in it \(\.wav"):
        add_recordings(settings, event, tmp_path)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(NoRecordings, match=r"broken\.wav: not decodable"):
        add_recordings(settings, event, tmp_path)
