"""The tally: what was heard in the windows of each version so far, and its scores once its last window was heard."""

from collections.abc import Sequence
from dataclasses import dataclass

from event_detection_pipeline.adapters.batch_size import BatchSize
from event_detection_pipeline.adapters.detector import Detector, LoadedAdapter
from event_detection_pipeline.scan.listen import Ears, ears_of, listen
from event_detection_pipeline.scan.pending import PendingVersion
from event_detection_pipeline.scan.results import VersionScore
from event_detection_pipeline.scan.windows import Window


@dataclass(frozen=True, slots=True)
class Piece:
    """A window of a version; or its end (no window), with the reason if it has no score or is not put on record."""

    version: PendingVersion
    window: Window | None = None
    problem: str | None = None
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A version whose end was reached; without scores where it is `skipped` for now, and why."""

    version: PendingVersion
    scores: tuple[VersionScore, ...]
    skipped: str | None = None


class Tally:
    """Holds a few numbers for each version in work, never its audio."""

    def __init__(self, detectors: Sequence[Detector], batch_size: BatchSize) -> None:
        self._detectors = detectors
        self._batch_size = batch_size
        self._ears: dict[PendingVersion, dict[str, Ears]] = {}

    def add(self, pieces: Sequence[Piece]) -> list[Finished]:
        """Listen to these pieces; the versions that end among them.

        Raises:
            OutOfMemory.
        """
        heard = [(piece.version, piece.window) for piece in pieces if piece.window]
        for version, _ in heard:
            self._ears.setdefault(version, ears_of(self._detectors))
        ears = [self._ears[version] for version, _ in heard]
        for detector in self._detectors:
            listen(detector, [window for _, window in heard], ears, self._batch_size)
        return [self._finish(piece) for piece in pieces if not piece.window]

    def _finish(self, end: Piece) -> Finished:
        heard = self._ears.pop(end.version, {})
        problem = end.problem or (None if heard else "NoAudio")
        adapters = [adapter for detector in self._detectors for adapter in detector.adapters]
        scores = [_score(end.version, one, None if problem else heard[one.name], problem) for one in adapters]
        return Finished(end.version, () if end.skipped else tuple(scores), end.skipped)


def _score(version: PendingVersion, adapter: LoadedAdapter, ears: Ears | None, problem: str | None) -> VersionScore:
    best = ears.best if ears else None
    return VersionScore(
        version.conversation_id,
        version.version_id,
        adapter.detection.event,
        adapter.name,
        best.score if best else None,
        adapter.detection.threshold,
        time=best.time if best else None,
        times=tuple(one.time for one in ears.loud if one.time is not None) if ears else (),
        problem=problem,
    )
