"""What is heard in windows: the same whether an adapter is asked about all of them or only where it can matter; and
when it was, in seconds of the recording."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.adapters.batch_size import BatchSize
from event_detection_pipeline.adapters.detector import Detector, LoadedAdapter, Sketch
from event_detection_pipeline.adapters.marker import Marker
from event_detection_pipeline.adapters.probe import Probe, Said, joined
from event_detection_pipeline.adapters.release import Detection
from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.scan.listen import MAX_TIMES, ears_of, listen, time_of
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


PROBE = Probe(np.zeros((4, 8), np.float32), 0.0, 0.5, 2)


class Scripted:
    """A detector that hears what is written in the samples: the probe's score, then the adapter's."""

    def __init__(self, threshold: float, probe: Probe | None) -> None:
        detection = Detection("chime", "<chime>", "CHIME_DETECTED", "tiny", threshold, "by hand", "0", ())
        self.adapters = (LoadedAdapter("chime_v1", detection, "adapter_0", Marker("", (), ()), probe),)
        self.asked = 0

    def bare(self) -> AbstractContextManager[None]:
        return nullcontext()

    def adapted(self, _adapter: LoadedAdapter) -> AbstractContextManager[None]:
        return nullcontext()

    def sketch(self, clips: Sequence[np.ndarray]) -> list[Sketch]:
        return [Sketch(torch.from_numpy(clip), {"chime_v1": Said(float(clip[0]), 0.5)}) for clip in clips]

    def hear(
        self, adapter: LoadedAdapter, sketches: Sequence[Sketch], _transcripts: Sequence[Sequence[str]]
    ) -> list[ClipScore]:
        self.asked += len(sketches)
        heard = [float(sketch.states[1]) for sketch in sketches]
        if adapter.probe is None:
            return [ClipScore(score, 0) for score in heard]
        known = [sketch.said[adapter.name].score for sketch in sketches]
        return [ClipScore(score, 0, time=0.5) for score in joined(heard, known)]


def window(number: int, probe: float, adapter: float) -> Window:
    return Window(float(number), np.array([probe, adapter, *[0.0] * SAMPLE_RATE], np.float32), ())


probabilities = st.floats(1 / 1024, 1023 / 1024, width=32)
recordings = st.lists(st.lists(st.tuples(probabilities, probabilities), min_size=1, max_size=8), min_size=1, max_size=4)


@given(recordings, probabilities, st.integers(1, 5), st.booleans())
def test_scores_and_flags_are_those_of_hearing_every_window_in_full(
    scores: list[list[tuple[float, float]]], threshold: float, group: int, with_probe: bool
) -> None:
    detector = Scripted(threshold, PROBE if with_probe else None)
    ears = [ears_of([cast(Detector, detector)]) for _ in scores]
    pieces = [
        (window(number, *pair), ears[recording])
        for recording, pairs in enumerate(scores)
        for number, pair in enumerate(pairs)
    ]
    for start in range(0, len(pieces), group):
        windows, of = zip(*pieces[start : start + group], strict=True)
        listen(cast(Detector, detector), windows, of, BatchSize(2))
    for pairs, own in zip(scores, ears, strict=True):
        full = joined([a for _, a in pairs], [p for p, _ in pairs]) if with_probe else [a for _, a in pairs]
        best = own["chime_v1"].best
        assert best is not None and best.score == max(full)
        loud = sorted((score for score in full if score >= threshold), reverse=True)
        assert [one.score for one in own["chime_v1"].loud] == loud[:MAX_TIMES]


def test_the_adapter_is_asked_about_few_windows_of_a_quiet_hour() -> None:
    detector = Scripted(0.9, PROBE)
    ears = ears_of([cast(Detector, detector)])
    windows = [window(number, 0.3 if number == 200 else 0.01, 0.5) for number in range(300)]
    listen(cast(Detector, detector), windows, [ears] * 300, BatchSize(4))
    assert detector.asked == 1
    assert ears["chime_v1"].best is not None and ears["chime_v1"].best.time == 200.5
