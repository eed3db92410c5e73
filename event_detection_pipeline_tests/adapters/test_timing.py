"""When the event was heard, against when it was."""

import pytest

from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.adapters.timing import measure_timing, time_of
from event_detection_pipeline.clips.manifest import Clip, ClipWord

WORDS = (ClipWord("good", 1.0, 2.0), ClipWord("morning", 4.0, 5.0))
CLIP = Clip("a.wav", "good <chime> morning", "2026-11-01T12:00:00+00:00", "positive", duration=6.0, words=WORDS)


@pytest.mark.parametrize(("position", "seconds"), [(0, 0.5), (1, 3.0), (2, 5.5)])
def test_the_time_is_the_middle_of_the_pause(position: int, seconds: float) -> None:
    assert time_of(CLIP, position) == seconds


def test_without_word_times_there_is_no_time() -> None:
    assert time_of(Clip("a.wav", "good", "", "positive", duration=6.0), 0) is None
    assert time_of(CLIP, 3) is None  # the text has more words than times


def clip(event_time: float | None) -> Clip:
    return Clip("a.wav", "good <chime> morning", "", "positive", duration=6.0, words=WORDS, event_time=event_time)


def test_only_flagged_clips_with_a_known_time_count() -> None:
    clips = [clip(3.2), clip(5.0), clip(None), clip(3.0)]
    found = [ClipScore(0.9, 1), ClipScore(0.8, 1), ClipScore(0.9, 1), ClipScore(0.1, 1)]
    timing = measure_timing(clips, found, 0.5, 0.95)
    assert timing is not None
    assert timing.clips == 2
    assert timing.median_error == pytest.approx((0.2 + 2.0) / 2)
    assert timing.within_collar.value == 0.5


def test_what_the_probe_heard_is_nearer_than_a_pause_between_words() -> None:
    timing = measure_timing([clip(2.2)], [ClipScore(0.9, 1, time=2.1)], 0.5, 0.95)
    assert timing is not None
    assert timing.median_error == pytest.approx(0.1)


def test_nothing_flagged_gives_no_timing() -> None:
    assert measure_timing([clip(3.0)], [ClipScore(0.1, 1)], 0.5, 0.95) is None
