"""Detection in audio files of any format and length: score, time and transcript."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from event_detection_pipeline.adapters.batch_size import BatchSize
from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.chronicle.audio import UndecodableAudio, decode_file
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.config import ClipSettings
from event_detection_pipeline.scan.listen import ears_of, listen
from event_detection_pipeline.scan.windows import Window, cut_stream

MIN_SECONDS = 0.01  # less is no sound
# What the layers below an adapter make of so many windows is in memory together, 3 MB each with Whisper large.
_WINDOWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Detected:
    """What an adapter heard in a file. `time` is seconds into it, None where it cannot be told."""

    audio: str
    event: str
    score: float
    threshold: float
    detected: bool
    time: float | None
    transcript: str


def detect(path: Path, detectors: Sequence[Detector], size: BatchSize, clips: ClipSettings) -> list[Detected]:
    """Detect in a file, one result for each event. A few minutes of it are in memory at a time.

    Raises:
        UndecodableAudio: names the file.
        OutOfMemory.
    """
    ears = ears_of(detectors)
    spoken: list[list[str]] = [[] for _ in detectors]
    windows = _windows(path, clips)
    while some := list(islice(windows, _WINDOWS_AT_ONCE)):
        for detector, words in zip(detectors, spoken, strict=True):
            heard = [_transcribed(window, detector) for window in some]
            words += [word.text for window in heard for word in window.words or ()]
            listen(detector, heard, [ears] * len(heard), size)
    found = []
    for detector, words in zip(detectors, spoken, strict=True):
        for adapter in detector.adapters:
            best, detection = ears[adapter.name].best, adapter.detection
            assert best is not None  # a file that can be read has a window
            found.append(
                Detected(
                    str(path),
                    detection.event,
                    round(best.score, 4),
                    round(detection.threshold, 4),
                    best.score >= detection.threshold,
                    best.time,
                    " ".join(words),
                )
            )
    return found


def _transcribed(window: Window, detector: Detector) -> Window:
    return replace(window, words=tuple(Word(text, None, None) for text in detector.transcribe(window.samples)))


def _windows(path: Path, clips: ClipSettings) -> Iterator[Window]:
    seconds = 0.0
    try:
        with path.open("rb") as file:
            for window in cut_stream(decode_file(file), clips):
                seconds = window.end
                if seconds >= MIN_SECONDS:
                    yield window
    except OSError as error:
        raise UndecodableAudio(f"{path}: {error.strerror}") from None
    except UndecodableAudio as error:
        raise UndecodableAudio(f"{path}: {error}") from None
    if seconds < MIN_SECONDS:
        raise UndecodableAudio(f"{path}: less than a hundredth of a second of audio")
