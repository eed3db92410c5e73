"""Few recordings become many clips, each with its sound where text and time say."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.clips.checks import check_audio, check_enough, check_leakage, check_schema
from event_detection_pipeline.clips.export import export_clips, write_training_manifest
from event_detection_pipeline.clips.manifest import Clip
from event_detection_pipeline.clips.mixing import in_a_room, loudest
from event_detection_pipeline.clips.recordings import add_recordings
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry, timed
from event_detection_pipeline_tests.sounds import RATE, Samples, encode, tone

Mongo = Database[dict[str, Any]]
SPOKEN = 300.0  # Hz; what stands for speech in these clips


def chime(frequency: float) -> Samples:
    """A second of a decaying tone, with silence around it."""
    decay = np.exp(-np.arange(RATE) / 4000).astype(np.float32)
    return np.concatenate([np.zeros(4000, np.float32), tone(1.0, frequency) * decay, np.zeros(2000, np.float32)])


@pytest.fixture
def chimes(tmp_path: Path) -> Path:
    folder = tmp_path / "chimes"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.wav").write_bytes(encode(chime(1500 + 100 * number), codec="pcm_s16le", container="wav"))
    return folder


@pytest.fixture
def household(database: Mongo) -> None:
    """Twenty conversations of 8 s that nobody has said anything about."""
    words = [{"word": f"w{n}", "start": n * 0.5 + 0.1, "end": n * 0.5 + 0.4} for n in range(16)]
    text = " ".join(word["word"] for word in words)
    audio = [{"chunk_index": 0, "audio_data": encode(tone(8.0, SPOKEN, level=0.05))}]
    for number in range(20):
        add_conversation(database, conversation_id=f"quiet-{number}", chunks=audio, words=words, transcript=text)


def when_heard(clip: Clip, low: float = 1300.0) -> float:
    """When the energy above `low` Hz is greatest, in seconds."""
    samples = decode(Path(clip.audio).read_bytes())
    frame = RATE // 20
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    return float(np.abs(np.fft.rfft(frames))[:, int(low / 20) :].sum(axis=1).argmax() / 20)


def with_clips(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update={"clips": settings.clips.model_copy(update=changes)})


def test_five_recordings_give_two_hundred_right_clips(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    add_recordings(settings, event, chimes)
    report = export_clips(database, settings, event)
    manifest = write_training_manifest(settings, event, min_samples=200)
    counts = Counter((clip.source, clip.contains_event) for clip in report.clips)
    assert counts == {("recording", True): 5, ("mix", True): 200, ("background", False): 20}
    for check in (
        check_schema(manifest.path, event),
        check_leakage(manifest.clips),
        check_audio(manifest.clips),
        check_enough(manifest.clips, settings.clips),
    ):
        assert check.passed, check


def test_the_sound_is_heard_where_the_text_and_the_time_say(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    add_recordings(settings, event, chimes)
    loud = with_clips(settings, mixes_per_recording=6, mix_snr_db=(10.0, 10.0))
    mixes = [clip for clip in export_clips(database, loud, event).clips if clip.source == "mix"]
    assert len(mixes) == 30
    for clip in mixes:
        assert clip.duration == 8.0, "it is as long as its background"
        assert clip.event_time is not None
        onset = when_heard(clip)
        assert clip.event_time - 0.7 < onset < clip.event_time + 0.3
        before = clip.text.split().index("<sneeze>")
        assert all(word.start < onset + 0.3 for word in clip.words[:before])
        assert all(word.end > onset - 0.3 for word in clip.words[before:])
        assert clip.text.replace("<sneeze>", "").split() == [word.word for word in clip.words]
    assert len({clip.text for clip in mixes}) > 5
    assert len({clip.conversation_id for clip in mixes}) > 3


def test_a_loud_sound_is_not_clipped(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    add_recordings(settings, event, chimes / "0.wav")
    loud = with_clips(settings, mixes_per_recording=3, mix_snr_db=(40.0, 40.0))
    mixes = [clip for clip in export_clips(database, loud, event).clips if clip.source == "mix"]
    assert len(mixes) == 3
    for clip in mixes:
        samples = np.abs(decode(Path(clip.audio).read_bytes()))
        assert (samples > 0.999).sum() < 10


def test_in_a_silent_background_the_sound_is_heard(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path
):
    silence = [{"chunk_index": 0, "audio_data": encode(np.zeros(8 * RATE, np.float32))}]
    for number in range(20):
        add_conversation(
            database, conversation_id=f"quiet-{number}", chunks=silence, transcript="hm", words=timed(("hm", 0.5))
        )
    add_recordings(settings, event, chimes / "0.wav")
    clips = export_clips(database, with_clips(settings, mixes_per_recording=3), event).clips
    mixes = [clip for clip in clips if clip.source == "mix"]
    assert len(mixes) == 3
    assert all(np.abs(decode(Path(clip.audio).read_bytes())).max() > 0.01 for clip in mixes)


def test_mixing_again_gives_the_same_bytes(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    add_recordings(settings, event, chimes)
    few = with_clips(settings, mixes_per_recording=3)
    first = export_clips(database, few, event)
    (few.data_dir / "clips.sqlite").unlink()
    assert export_clips(database, few, event).lines == first.lines
    other = export_clips(database, with_clips(few, seed=1), event)
    assert not set(other.lines) & {line for line in first.lines if '"mix"' in line}


def test_more_mixes_and_more_recordings_leave_the_others_as_they_were(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    add_recordings(settings, event, chimes / "0.wav")
    first = export_clips(database, with_clips(settings, mixes_per_recording=3), event)
    add_recordings(settings, event, chimes / "1.wav")
    second = export_clips(database, with_clips(settings, mixes_per_recording=4), event)
    assert set(first.lines) < set(second.lines)
    assert second.made == 1 + 5


def test_a_background_that_somebody_flags_is_mixed_with_no_more(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    add_recordings(settings, event, chimes)
    few = with_clips(settings, mixes_per_recording=4)
    before = export_clips(database, few, event).clips
    flagged = next(clip.conversation_id for clip in before if clip.source == "mix")
    update = {"$set": {"transcript_versions.0.maybe_anomaly": True}}
    database["conversations"].update_one({"conversation_id": flagged}, update)
    report = export_clips(database, few, event)
    assert flagged not in {clip.conversation_id for clip in report.clips}
    assert sum(clip.source == "mix" for clip in report.clips) == 20
    assert report.made == sum(clip.source == "mix" and clip.conversation_id == flagged for clip in before)


def heard_in(database: Mongo, settings: Settings, event: EventSettings) -> set[tuple[str, str | None]]:
    """The conversations, and their versions, that serve as backgrounds."""
    clips = export_clips(database, with_clips(settings, mixes_per_recording=1), event).clips
    return {(clip.conversation_id, clip.version_id) for clip in clips if clip.source == "background"}


def test_only_the_active_version_is_a_background(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    old = {"version_id": "old", "transcript": "a first draft", "maybe_anomaly": None}
    database["conversations"].update_many({}, {"$push": {"transcript_versions": old}})
    add_recordings(settings, event, chimes / "0.wav")
    assert heard_in(database, settings, event) == {(f"quiet-{n}", f"quiet-{n}-v1") for n in range(20)}


def test_a_conversation_in_which_somebody_wrote_the_tag_is_no_background(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    update = {"$set": {"transcript_versions.0.transcript": "oh <sneeze> dear"}}
    database["conversations"].update_one({"conversation_id": "quiet-7"}, update)
    add_recordings(settings, event, chimes / "0.wav")
    assert heard_in(database, settings, event) == {(f"quiet-{n}", f"quiet-{n}-v1") for n in range(20) if n != 7}


def test_other_sounds_become_hard_negatives(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    add_recordings(settings, event, chimes / "0.wav", contains_event=False)
    report = export_clips(database, with_clips(settings, mixes_per_other_sound=7), event)
    sounds = [clip for clip in report.clips if clip.recording]
    assert Counter(clip.source for clip in sounds) == {"recording": 1, "mix": 7}
    assert not any(clip.contains_event or "<sneeze>" in clip.text or clip.event_time for clip in sounds)
    assert {clip.type for clip in sounds} == {"negative"}


def test_a_recording_that_is_said_to_be_something_else_becomes_other_clips(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    few = with_clips(settings, mixes_per_recording=2, mixes_per_other_sound=2)
    add_recordings(few, event, chimes / "0.wav")
    export_clips(database, few, event)
    add_recordings(few, event, chimes / "0.wav", contains_event=False)
    clips = [clip for clip in export_clips(database, few, event).clips if clip.recording]
    assert len(clips) == 3
    assert not any(clip.contains_event or "<sneeze>" in clip.text for clip in clips)


def test_a_recording_is_no_background(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    few = with_clips(settings, mixes_per_recording=2, mixes_per_other_sound=2)
    for number in range(5):
        add_recordings(few, event, chimes / f"{number}.wav", contains_event=number > 2)
    first = export_clips(database, few, event)
    assert all(clip.conversation_id.startswith("quiet-") for clip in first.clips if clip.source == "mix")
    assert export_clips(database, few, event).made == 0


def test_rejected_flags_are_mixed_with_too(database: Mongo, settings: Settings, event: EventSettings, chimes: Path):
    words = timed(("hello", 0.5), ("there", 1.5))
    for number in range(6):
        add_stash_entry(database, add_conversation(database, conversation_id=f"c{number}", seconds=6.0, words=words))
    add_recordings(settings, event, chimes)
    clips = export_clips(database, settings, event).clips
    assert {"training_stash", "mix", "recording"} == {clip.source for clip in clips}


def test_a_clip_with_the_event_is_no_background(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path
):
    words = timed(("hello", 0.5), ("there", 4.5))
    for number in range(6):
        id_ = add_conversation(database, conversation_id=f"c{number}", seconds=6.0, words=words)
        add_stash_entry(database, id_, transcript="hello <sneeze> there")
    add_recordings(settings, event, chimes / "0.wav")
    clips = export_clips(database, settings, event).clips
    assert {clip.source for clip in clips} == {"training_stash", "recording"}


def test_a_file_that_a_power_cut_spoiled_is_named_and_stops_nothing(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    add_recordings(settings, event, chimes / "0.wav")
    few = with_clips(settings, mixes_per_recording=2)
    before = export_clips(database, few, event)
    clips = settings.audio_dir / "quiet-0.wav", settings.audio_dir / "quiet-1.wav"
    for clip in clips:
        clip.write_bytes(bytes(clip.stat().st_size))
    assert export_clips(database, few, event).lines == before.lines
    assert check_audio(before.clips).passed
    (sound,) = (settings.recordings_dir / event.name).glob("*.wav")
    sound.write_bytes(bytes(sound.stat().st_size))
    report = export_clips(database, with_clips(few, seed=1), event)
    assert report.rejects_by_reason == {"no_audio": 3}
    assert all(reject.document_id == "0.wav" and str(sound) in reject.detail for reject in report.rejects)
    assert {clip.source for clip in report.clips} == {"background"}


def test_a_background_that_cannot_be_decoded_is_cut_again(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path, household: None
):
    few = with_clips(settings, mixes_per_recording=2)
    add_recordings(settings, event, chimes / "0.wav")
    whole = export_clips(database, few, event)
    for clip in settings.audio_dir.glob("quiet-*.wav"):
        clip.write_bytes(b"RIFF" + bytes(1000))
    for mix in settings.audio_dir.glob("recording_*.wav"):
        mix.unlink()
    report = export_clips(database, few, event)
    assert report.rejects_by_reason == {"no_audio": 2}
    assert all("quiet-" in reject.detail for reject in report.rejects)
    assert set(export_clips(database, few, event).lines) >= {line for line in whole.lines if '"mix"' in line}


def test_recordings_alone_are_enough_to_begin_with(
    database: Mongo, settings: Settings, event: EventSettings, chimes: Path
):
    add_recordings(settings, event, chimes)
    clips = export_clips(database, settings, event).clips
    assert [(clip.text, clip.type) for clip in clips] == [("<sneeze>", "recording")] * 5
    assert all(clip.event_time == pytest.approx(0.75, abs=0.3) for clip in clips)


def test_the_loudest_stretch_leaves_out_the_silence_around_it():
    first, last = loudest(chime(1000.0), 4.0)
    assert abs(first - 4000) <= 320
    assert last <= 4000 + RATE + 320
    sound = np.concatenate([tone(6.0, level=0.01), tone(2.0), tone(6.0, level=0.01)])
    first, last = loudest(sound, 4.0)
    assert (last - first) / RATE == pytest.approx(4.0, abs=0.05)
    assert first <= 6 * RATE and last >= 8 * RATE


def test_a_room_leaves_the_sound_at_its_time_and_colours_it():
    sound = chime(1500.0)
    rooms = [in_a_room(sound, np.random.default_rng(seed)) for seed in range(4)]
    for heard in rooms:
        level = np.abs(heard)
        assert abs(int(np.flatnonzero(level > 0.2 * level.max())[0]) - 4000) < 0.05 * RATE
        assert np.isfinite(heard).all() and heard.dtype == np.float32
    assert not np.allclose(rooms[0][:4500], rooms[1][:4500])
