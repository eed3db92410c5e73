"""Long conversations become short clips with exactly the words spoken in them, and the event where it was."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.clips.export import export_clips
from event_detection_pipeline.clips.manifest import Clip
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry, timed
from event_detection_pipeline_tests.sounds import RATE, encode, tone

SECONDS = 120


@pytest.fixture(scope="module")
def chunks() -> list[dict[str, Any]]:
    """Two minutes in which every 10 s have a tone of their own: second s is heard at 300 + 20 * (s // 10) Hz."""
    return [
        {"chunk_index": index, "audio_data": encode(tone(10.0, 300 + 20 * index)), "duration": 10.0}
        for index in range(SECONDS // 10)
    ]


def word_times(count: int = SECONDS) -> list[dict[str, Any]]:
    """`w0 w1 w2 ...`, one word a second."""
    return [{"word": f"w{second}", "start": second + 0.1, "end": second + 0.7} for second in range(count)]


def texts(words: list[dict[str, Any]]) -> str:
    return " ".join(word["word"] for word in words)


def add_rejected(database: Database[dict[str, Any]], chunks: list[dict[str, Any]]) -> str:
    """A conversation whose flag a person rejected. Returns its id."""
    said = texts(word_times())
    id_ = add_conversation(database, chunks=chunks, words=word_times(), transcript=said)
    add_stash_entry(database, id_, transcript=said)
    return id_


def heard(clip: Clip) -> float:
    """The loudest frequency in the clip's first second, Hz."""
    samples = decode(Path(clip.audio).read_bytes())[:RATE]
    return float(np.abs(np.fft.rfft(samples)).argmax())


def check_words(clip: Clip) -> None:
    """The clip's words are those of its seconds, at their times."""
    numbers = [int(word.word[1:]) for word in clip.words]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert clip.start <= numbers[0] + 0.1 < clip.start + 1
    assert clip.end - 1 < numbers[-1] + 0.7 <= clip.end
    for word, number in zip(clip.words, numbers, strict=True):
        assert word.start == pytest.approx(number + 0.1 - clip.start, abs=0.01)


def test_the_window_with_the_tag_and_a_few_others_are_written(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, chunks: list[dict[str, Any]]
):
    words = word_times()
    id_ = add_conversation(database, chunks=chunks, words=words, transcript=texts(words))
    add_stash_entry(database, id_, transcript=texts(words[:61]) + " <sneeze> " + texts(words[61:]))
    clips = export_clips(database, settings, event).clips
    (sneeze,) = [clip for clip in clips if clip.contains_event]
    assert len(clips) == 1 + settings.clips.other_windows
    assert "w60 <sneeze> w61" in sneeze.text
    assert sneeze.event_time == pytest.approx(60.9 - sneeze.start, abs=0.02)
    for clip in clips:
        check_words(clip)
        assert clip.duration <= 18
        assert clip.text.replace("<sneeze> ", "") == " ".join(word.word for word in clip.words)
        assert abs(heard(clip) - (300 + 20 * (clip.start // 10))) <= 20


def test_a_wrong_flag_gives_the_window_where_it_was_heard(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, chunks: list[dict[str, Any]]
):
    id_ = add_rejected(database, chunks)
    scan = {"conversation_id": id_, "version_id": f"{id_}-v1", "event": "sneeze", "flagged": True, "time": 93.0}
    database["event_scans"].insert_one(scan)
    clips = export_clips(database, settings, event).clips
    assert not any(clip.contains_event for clip in clips)
    assert sum(clip.start <= 93.0 < clip.end for clip in clips) == 1
    assert len(clips) == 1 + settings.clips.other_windows
    assert [clip.flagged for clip in clips] == [clip.start <= 93.0 < clip.end for clip in clips]


def test_where_nobody_said_when_the_flag_was_no_window_of_several_is_the_flagged_one(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, chunks: list[dict[str, Any]]
):
    add_rejected(database, chunks)
    clips = export_clips(database, settings, event).clips
    assert [clip.flagged for clip in clips] == [False] * (1 + settings.clips.other_windows)


def test_all_windows_together_hold_all_words_once(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, chunks: list[dict[str, Any]]
):
    add_rejected(database, chunks)
    every = settings.clips.model_copy(update={"other_windows": 100})
    clips = export_clips(database, settings.model_copy(update={"clips": every}), event).clips
    clips = sorted(clips, key=lambda clip: clip.start)
    assert [word.word for clip in clips for word in clip.words] == texts(word_times()).split()
    assert clips[0].start == 0 and clips[-1].end == SECONDS
    assert all(one.end == pytest.approx(other.start, abs=0.002) for one, other in itertools.pairwise(clips))


def test_segments_serve_where_words_have_no_times(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, chunks: list[dict[str, Any]]
):
    segments = [
        {"start": start + 0.5, "end": start + 5.5, "text": f"s{start} and more", "segment_type": "speech"}
        for start in range(0, SECONDS, 6)
    ]
    segments.append({"start": 48.1, "end": 48.4, "text": "[Sneeze]", "segment_type": "event"})
    words = [{"word": "hello"}]
    id_ = add_conversation(database, chunks=chunks, words=words, segments=segments, transcript="")
    add_stash_entry(database, id_, transcript=" ".join(segment["text"] for segment in segments[:-1]), segments=segments)
    clips = export_clips(database, settings, event).clips
    (sneeze,) = [clip for clip in clips if clip.contains_event]
    assert "s42 and more <sneeze> s48 and more" in sneeze.text
    assert sneeze.event_time == pytest.approx(48.25 - sneeze.start, abs=0.01)
    assert all(not any(0.51 < edge % 6 < 5.49 for edge in (clip.start, clip.end)) for clip in clips)
    assert all(clip.words == () for clip in clips)


def test_a_verified_flag_gets_its_tag_where_the_scan_heard_it(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, chunks: list[dict[str, Any]]
):
    words = word_times()
    id_ = add_conversation(database, chunks=chunks, words=words, transcript=texts(words))
    key = {"conversation_id": id_, "version_id": f"{id_}-v1", "event": "sneeze"}
    database["event_scans"].insert_one(key | {"flagged": True, "time": 33.9})
    database["event_reviews"].insert_one(key | {"answer": "accepted"})
    clips = export_clips(database, settings, event).clips
    (sneeze,) = [clip for clip in clips if clip.contains_event]
    assert (sneeze.type, sneeze.source) == ("verified", "event_reviews")
    assert "w33 <sneeze> w34" in sneeze.text
    assert sneeze.event_time == pytest.approx(33.9 - sneeze.start, abs=0.01)


def test_words_where_the_audio_is_missing_are_not_learned(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, chunks: list[dict[str, Any]]
):
    words = word_times()
    holed = [chunk for chunk in chunks if chunk["chunk_index"] not in (3, 4)]
    id_ = add_conversation(database, chunks=holed, words=words, transcript=texts(words))
    add_stash_entry(database, id_, transcript=texts(words[:36]) + " <sneeze> " + texts(words[36:]))
    report = export_clips(database, settings, event)
    assert [(reject.reason, reject.start, reject.conversation_id) for reject in report.rejects] == [
        ("audio_gap", pytest.approx(30, abs=12), id_)
    ]
    for clip in report.clips:
        assert clip.end <= 30 or clip.start >= 50 or not clip.words
        assert abs(heard(clip) - (300 + 20 * (clip.start // 10))) <= 20


def test_a_transcript_that_goes_on_after_the_audio_is_set_aside_there(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, chunks: list[dict[str, Any]]
):
    words = word_times()
    id_ = add_conversation(database, chunks=chunks[:6], words=words, transcript=texts(words))
    add_stash_entry(database, id_, transcript=texts(words[:100]) + " <sneeze> " + texts(words[100:]))
    report = export_clips(database, settings, event)
    assert report.rejects_by_reason == {"audio_gap": 1}
    assert len(report.clips) == settings.clips.other_windows
    assert all(clip.end <= 60 for clip in report.clips)


def test_an_event_whose_time_nobody_knows_is_set_aside(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, chunks: list[dict[str, Any]]
):
    words = [*word_times(10), {"word": "end", "start": 119.0, "end": 119.5}]
    id_ = add_conversation(database, chunks=chunks, words=words, transcript=texts(words))
    add_stash_entry(database, id_, transcript=texts(words[:10]) + " <sneeze> end")
    assert "event_time_unknown" in export_clips(database, settings, event).rejects_by_reason


def test_a_window_in_which_nobody_speaks_is_not_among_the_others(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings
):
    words = timed(("hello", 1.0), ("there", 5.0), ("oh", 9.0), ("dear", 14.0))
    id_ = add_conversation(database, seconds=70.0, words=words)
    add_stash_entry(database, id_, transcript="hello <sneeze> there oh dear")
    clips = export_clips(database, settings, event).clips
    assert clips and all(clip.text for clip in clips)


def test_a_recognisers_event_outside_the_audio_is_none(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings
):
    words = word_times(10)
    for start in (-4.0, 4000.0, 1e8):
        mark = {"start": start, "end": start + 1, "text": "[sneeze]", "segment_type": "event"}
        id_ = add_conversation(database, seconds=10.0, words=words, segments=[mark], transcript=texts(words))
        add_stash_entry(database, id_, transcript=texts(words))
    report = export_clips(database, settings, event)
    assert report.rejects == ()
    assert [(clip.text, clip.event_time, clip.duration) for clip in report.clips] == [(texts(words), None, 10.0)] * 3


MEASURE = """
import sys
from pathlib import Path
from event_detection_pipeline.chronicle.database import connect
from event_detection_pipeline.clips.export import export_clips
from event_detection_pipeline.config import EventSettings, Settings

uri, name, data_dir = sys.argv[1:]
event = EventSettings(name="sneeze")
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
before = peak()
report = export_clips(connect(uri, name), Settings(data_dir=Path(data_dir), events=(event,)), event)
print(len(report.clips), peak() - before)
"""


def test_two_hours_are_exported_in_little_memory(
    database: Database[dict[str, Any]], settings: Settings, mongodb_uri: str, chunks: list[dict[str, Any]]
):
    audio = chunks[0]["audio_data"]
    two_hours = [{"chunk_index": index, "audio_data": audio, "duration": 10.0} for index in range(720)]
    words = word_times(7200)
    id_ = add_conversation(database, chunks=two_hours, words=words, transcript=texts(words))
    add_stash_entry(database, id_, transcript=texts(words[:5000]) + " <sneeze> " + texts(words[5000:]))
    command = [sys.executable, "-c", MEASURE, mongodb_uri, database.name, str(settings.data_dir)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    clips, megabytes = int(found[0]), int(found[1])
    assert clips == 1 + settings.clips.other_windows
    # Two hours of samples are 460 MB, and the encoded audio 21 MB.
    assert megabytes < 100
