"""Listening: what the adapters hear in windows, batched by length."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.adapters.whisper import bucket_samples
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.scan.windows import Window

logger = logging.getLogger(__name__)


class OutOfMemory(PipelineError):
    """The device's memory does not hold a single window."""


class BatchSize:
    """How many windows are scored at once: as configured, until the device's memory turns out not to hold so many."""

    def __init__(self, windows: int) -> None:
        self.windows = windows

    def halve(self) -> None:
        """Raises OutOfMemory where there is nothing to halve."""
        if self.windows == 1:
            raise OutOfMemory(
                "the device ran out of memory with a single window: close what else uses the card, scan on the CPU "
                '(device = "cpu"), or train on a smaller base_model'
            )
        logger.warning("out of memory with %d windows at once: going on with %d", self.windows, self.windows // 2)
        self.windows //= 2
        torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True)
class Heard:
    """What one adapter heard in a window: its highest score and when (seconds, None where words have no times)."""

    score: float
    time: float | None


def listen(detector: Detector, windows: Sequence[Window], batch_size: BatchSize) -> dict[str, list[Heard]]:
    """Score windows with every adapter; one Heard for each window, by adapter name. No score depends on the batch.

    Raises:
        OutOfMemory.
    """
    words = [
        window.words
        if window.words is not None
        else tuple(Word(text, None, None) for text in detector.transcribe(window.samples))
        for window in windows
    ]
    heard: dict[str, dict[int, Heard]] = {adapter.name: {} for adapter in detector.adapters}
    for bucket in _buckets(windows):
        while bucket:
            batch = bucket[: batch_size.windows]
            samples = [windows[index].samples for index in batch]
            try:
                found = detector.score(samples, [[word.text for word in words[index]] for index in batch])
            except torch.OutOfMemoryError:
                batch_size.halve()
                continue
            bucket = bucket[len(batch) :]
            for name, scores in found.items():
                for index, score in zip(batch, scores, strict=True):
                    heard[name][index] = Heard(score.score, _time_of(score, words[index], windows[index]))
    return {name: [found[index] for index in range(len(windows))] for name, found in heard.items()}


def loudest(heard: Sequence[Heard]) -> Heard:
    """The window with the highest score speaks for the recording."""
    return max(heard, key=lambda one: one.score)


def _buckets(windows: Sequence[Window]) -> list[list[int]]:
    """Indices of windows, those of one padded length together."""
    buckets: dict[int, list[int]] = {}
    for index, window in enumerate(windows):
        buckets.setdefault(bucket_samples(len(window.samples)), []).append(index)
    return list(buckets.values())


def _time_of(score: ClipScore, words: Sequence[Word], window: Window) -> float | None:
    """The middle of the pause at the score's word boundary, in seconds of the recording."""
    before = words[score.position - 1].end if score.position > 0 else window.start
    after = words[score.position].start if score.position < len(words) else window.end
    return None if before is None or after is None else round((before + after) / 2, 2)
