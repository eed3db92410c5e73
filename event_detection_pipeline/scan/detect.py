"""Detection in audio files of any format and length: score, time and transcript."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.chronicle.audio import Samples, UndecodableAudio, decode
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings, ScanSettings
from event_detection_pipeline.scan.listen import batch_size, ears_of, listen
from event_detection_pipeline.scan.windows import Window, cut


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


def detect(
    paths: Sequence[Path], detectors: Sequence[Detector], settings: ScanSettings, clips: ClipSettings
) -> Iterator[Detected]:
    """Detect in each file, in the order given, one result for each file and event.

    Raises:
        UndecodableAudio: names the file.
        OutOfMemory.
    """
    size = batch_size(detectors, settings)
    for path in paths:
        samples = _read(path)
        for detector in detectors:
            windows = [
                Window(one.start, one.samples, tuple(Word(t, None, None) for t in detector.transcribe(one.samples)))
                for one in cut(samples, None, clips)
            ]
            transcript = " ".join(word.text for window in windows for word in window.words or ())
            ears = ears_of([detector])
            listen(detector, windows, [ears] * len(windows), size)
            for adapter in detector.adapters:
                best = ears[adapter.name].best
                assert best is not None  # a file that was read has a window
                detection = adapter.detection
                yield Detected(
                    str(path),
                    detection.event,
                    round(best.score, 4),
                    round(detection.threshold, 4),
                    best.score >= detection.threshold,
                    best.time,
                    transcript,
                )


def _read(path: Path) -> Samples:
    try:
        samples = decode(path.read_bytes())
    except OSError as error:
        raise UndecodableAudio(f"{path}: {error.strerror}") from None
    except UndecodableAudio as error:
        raise UndecodableAudio(f"{path}: {error}") from None
    if len(samples) < SAMPLE_RATE // 100:
        raise UndecodableAudio(f"{path}: less than a hundredth of a second of audio")
    return samples
