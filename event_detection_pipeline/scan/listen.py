"""Listening: what the adapters hear in the windows of recordings, batched by length.

The probes hear every window, the adapters only those in which they could change anything: an adapter's say is limited,
so most windows can neither be the loudest of their recording nor loud enough to flag, whatever the adapter hears there.
Scores and flags are those that hearing every window in full would give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from event_detection_pipeline.adapters.batch_size import BatchSize, batches_at_once, clips_at_once, in_batches
from event_detection_pipeline.adapters.detector import Detector, LoadedAdapter
from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.adapters.whisper import bucket_samples
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.config import ScanSettings
from event_detection_pipeline.scan.windows import Window

MAX_TIMES = 20  # places kept of one recording: a person listens to the first few


@dataclass(frozen=True, slots=True)
class Heard:
    """What one adapter heard in a window: its highest score and when, in seconds of the recording. None where only the
    words would tell, and have no times."""

    score: float
    time: float | None


@dataclass(slots=True)
class Ears:
    """What one adapter heard in one recording so far: the best window, and those worth a flag."""

    threshold: float
    best: Heard | None = None
    loud: list[Heard] = field(default_factory=list)

    def could_matter(self, ceiling: float) -> bool:
        """Whether a window whose score is at most that may be the best or worth a flag."""
        return self.best is None or ceiling >= min(self.best.score, self.threshold)

    def note(self, heard: Heard) -> None:
        if self.best is None or heard.score > self.best.score:
            self.best = heard
        if heard.score >= self.threshold and heard.time is not None:
            self.loud = sorted([*self.loud, heard], key=lambda one: -one.score)[:MAX_TIMES]


def ears_of(detectors: Sequence[Detector]) -> dict[str, Ears]:
    """For a recording of which nothing was heard yet, by adapter name."""
    return {one.name: Ears(one.detection.threshold) for detector in detectors for one in detector.adapters}


def listen(detector: Detector, windows: Sequence[Window], ears: Sequence[Mapping[str, Ears]], size: BatchSize) -> None:
    """Let every adapter note what it hears in windows. No score depends on the batch.

    Args:
        ears: of each window's recording.

    Raises:
        OutOfMemory.
    """
    buckets = [bucket_samples(len(window.samples)) for window in windows]
    with detector.bare():
        sketches = in_batches(buckets, size, lambda batch: detector.sketch([windows[index].samples for index in batch]))

    @cache
    def words(index: int) -> Sequence[Word]:
        spoken = windows[index].words
        if spoken is not None:
            return spoken
        return tuple(Word(text, None, None) for text in detector.transcribe(windows[index].samples))

    def ask(adapter: LoadedAdapter, asked: Sequence[int]) -> list[ClipScore]:
        transcripts = [[word.text for word in words(index)] for index in asked]

        def hear(batch: list[int]) -> list[ClipScore]:
            chosen = [sketches[asked[place]] for place in batch]
            return detector.hear(adapter, chosen, [transcripts[place] for place in batch])

        with detector.adapted(adapter):
            return in_batches([buckets[index] for index in asked], size, hear)

    for adapter in detector.adapters:
        own = [one[adapter.name] for one in ears]
        ceilings = [sketch.ceiling(adapter) for sketch in sketches]
        # First what is likely to be the loudest of each recording: after it, little else can matter.
        for chosen in _promising_first(own, ceilings):
            asked = [index for index in chosen if own[index].could_matter(ceilings[index])]
            for index, score in zip(asked, ask(adapter, asked), strict=True):
                own[index].note(Heard(score.score, time_of(score, words(index), windows[index])))


def _promising_first(ears: Sequence[Ears], ceilings: Sequence[float]) -> tuple[list[int], list[int]]:
    """The window of each recording that may have the highest score; and all others."""
    first: dict[int, int] = {}
    for index, one in enumerate(ears):
        known = first.setdefault(id(one), index)
        if ceilings[index] > ceilings[known]:
            first[id(one)] = index
    promising = set(first.values())
    return sorted(promising), [index for index in range(len(ears)) if index not in promising]


def batch_size(detectors: Sequence[Detector], settings: ScanSettings) -> BatchSize:
    """As configured; else what suits all of the detectors."""
    models = [detector.whisper for detector in detectors]
    return BatchSize(settings.batch_size or min(map(clips_at_once, models)), min(map(batches_at_once, models)))


def time_of(score: ClipScore, words: Sequence[Word], window: Window) -> float | None:
    """Where the probe heard it; without one, the middle of the pause at the score's word boundary."""
    if score.time is not None:
        return round(min(window.start + score.time, window.end), 2)
    before = words[score.position - 1].end if score.position > 0 else window.start
    after = words[score.position].start if score.position < len(words) else window.end
    return None if before is None or after is None else round((before + after) / 2, 2)
