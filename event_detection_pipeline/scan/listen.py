"""Listening: the windows of one recording with their words, and what the adapters hear in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.adapters.whisper import bucket_samples
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.clips.windows import cut as windows_of
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a recording of at most 30 s.

    Attributes:
        start: seconds into the recording.
        samples: float32 mono 16 kHz.
        words: the words spoken in it, with times from the start of the recording where known; None where nobody has
            transcribed it.
    """

    start: float
    samples: np.ndarray
    words: tuple[Word, ...] | None

    @property
    def end(self) -> float:
        return self.start + len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Heard:
    """What one adapter heard in a recording: its highest score and when (seconds, None where words have no times)."""

    score: float
    time: float | None


def cut(samples: np.ndarray, words: Sequence[Word] | None, settings: ClipSettings) -> list[Window]:
    """Cut a recording of any length to windows as training clips are cut: between words, of about the same length.

    Args:
        samples: float32 mono 16 kHz.
        words: all words with their times; None where there is no transcript. Words without times only fit a recording
            that is one window.
    """
    seconds = len(samples) / SAMPLE_RATE
    if words is not None and any(word.start is None for word in words):
        return [Window(0.0, samples, tuple(words))]
    spoken = [(word.start, word.end) for word in words or () if word.start is not None and word.end is not None]
    windows = []
    for window in windows_of(seconds, spoken, target=settings.target_seconds, longest=settings.max_seconds):
        # A word without end that spans minutes leaves no place to cut; Whisper takes 30 s all the same.
        for start in np.arange(window.start, window.end, settings.max_seconds):
            end = min(start + settings.max_seconds, window.end)
            piece = samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
            inside = (
                None if words is None else tuple(w for w in words if w.start is not None and start <= w.start < end)
            )
            windows.append(Window(float(start), piece, inside))
    return windows


def listen(detector: Detector, windows: Sequence[Window], batch_size: int) -> dict[str, list[Heard]]:
    """Score windows, batched by length, with every adapter; one Heard for each window, by adapter name."""
    words = [
        window.words
        if window.words is not None
        else tuple(Word(text, None, None) for text in detector.transcribe(window.samples))
        for window in windows
    ]
    heard: dict[str, dict[int, Heard]] = {adapter.name: {} for adapter in detector.adapters}
    for batch in _batches(windows, batch_size):
        found = detector.score(
            [windows[index].samples for index in batch], [[word.text for word in words[index]] for index in batch]
        )
        for name, scores in found.items():
            for index, score in zip(batch, scores, strict=True):
                heard[name][index] = Heard(score.score, _time_of(score, words[index], windows[index]))
    return {name: [found[index] for index in range(len(windows))] for name, found in heard.items()}


def loudest(heard: Sequence[Heard]) -> Heard:
    """The window with the highest score speaks for the recording."""
    return max(heard, key=lambda one: one.score)


def _batches(windows: Sequence[Window], batch_size: int) -> list[list[int]]:
    """Indices of windows, those of one bucket together: no score depends on who shares its batch."""
    buckets: dict[int, list[int]] = {}
    for index, window in enumerate(windows):
        buckets.setdefault(bucket_samples(len(window.samples)), []).append(index)
    return [
        indices[start : start + batch_size]
        for indices in buckets.values()
        for start in range(0, len(indices), batch_size)
    ]


def _time_of(score: ClipScore, words: Sequence[Word], window: Window) -> float | None:
    """The middle of the pause at the score's word boundary, in seconds of the recording."""
    before = words[score.position - 1].end if score.position > 0 else window.start
    after = words[score.position].start if score.position < len(words) else window.end
    return None if before is None or after is None else round((before + after) / 2, 2)
