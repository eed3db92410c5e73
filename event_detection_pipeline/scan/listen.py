"""Listening: what the adapters hear in windows, batched by length."""

from collections.abc import Sequence
from dataclasses import dataclass

from event_detection_pipeline.adapters.batch_size import BatchSize, clips_at_once, in_batches
from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.adapters.whisper import bucket_samples
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.config import ScanSettings
from event_detection_pipeline.scan.windows import Window


@dataclass(frozen=True, slots=True)
class Heard:
    """What one adapter heard in a window: its highest score and when, in seconds of the recording. None where only the
    words would tell, and have no times."""

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

    def score(batch: list[int]) -> list[tuple[ClipScore, ...]]:
        chosen = [[word.text for word in words[index]] for index in batch]
        return list(zip(*detector.score([windows[index].samples for index in batch], chosen).values(), strict=True))

    found = in_batches([bucket_samples(len(window.samples)) for window in windows], batch_size, score)
    return {
        adapter.name: [
            Heard(scores[number].score, time_of(scores[number], spoken, window))
            for scores, spoken, window in zip(found, words, windows, strict=True)
        ]
        for number, adapter in enumerate(detector.adapters)
    }


def batch_size(detectors: Sequence[Detector], settings: ScanSettings) -> BatchSize:
    """As configured; else what suits all of the detectors."""
    return BatchSize(settings.batch_size or min(clips_at_once(detector.whisper) for detector in detectors))


def loudest(heard: Sequence[Heard]) -> Heard:
    """The window with the highest score speaks for the recording."""
    return max(heard, key=lambda one: one.score)


def time_of(score: ClipScore, words: Sequence[Word], window: Window) -> float | None:
    """Where the probe heard it; without one, the middle of the pause at the score's word boundary."""
    if score.time is not None:
        return round(min(window.start + score.time, window.end), 2)
    before = words[score.position - 1].end if score.position > 0 else window.start
    after = words[score.position].start if score.position < len(words) else window.end
    return None if before is None or after is None else round((before + after) / 2, 2)
