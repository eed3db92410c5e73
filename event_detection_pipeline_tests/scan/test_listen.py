"""When something was heard in a window, in seconds of the recording."""

import numpy as np
import pytest

from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.scan.listen import time_of
from event_detection_pipeline.scan.windows import Window

WORDS = (Word("good", 61.0, 62.0), Word("morning", 64.0, 65.0))
WINDOW = Window(60.0, np.zeros(6 * SAMPLE_RATE, np.float32), WORDS)


@pytest.mark.parametrize(("position", "seconds"), [(0, 60.5), (1, 63.0), (2, 65.5)])
def test_between_the_words_where_only_the_adapter_says(position: int, seconds: float) -> None:
    assert time_of(ClipScore(0.9, position), WORDS, WINDOW) == seconds


def test_words_without_times_do_not_tell() -> None:
    assert time_of(ClipScore(0.9, 1), (Word("good", None, None), Word("morning", None, None)), WINDOW) is None


def test_where_the_probe_heard_it_also_within_a_word_or_without_any() -> None:
    assert time_of(ClipScore(0.9, 0, time=1.6), WORDS, WINDOW) == 61.6
    assert time_of(ClipScore(0.9, 0, time=1.6), (), WINDOW) == 61.6


def test_never_after_the_window_that_is_shorter_than_what_the_probe_listens_to() -> None:
    assert time_of(ClipScore(0.9, 0, time=0.8), (), Window(60.0, np.zeros(SAMPLE_RATE // 2, np.float32), ())) == 60.5
