"""The tally: what was heard in the windows of each version so far, and its scores once its last window was heard."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from event_detection_pipeline.adapters.batch_size import BatchSize
from event_detection_pipeline.adapters.detector import Detector, LoadedAdapter
from event_detection_pipeline.scan.listen import Heard, listen, loudest
from event_detection_pipeline.scan.pending import PendingVersion
from event_detection_pipeline.scan.results import VersionScore
from event_detection_pipeline.scan.windows import Window

MAX_TIMES = 20  # places kept of one version: a person listens to the first few


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


@dataclass(slots=True)
class _Ears:
    """What one adapter heard in one version: the best window, and those worth a flag."""

    best: Heard
    loud: list[Heard] = field(default_factory=list)


class Tally:
    """Holds a few numbers for each version in work, never its audio."""

    def __init__(self, detectors: Sequence[Detector], batch_size: BatchSize) -> None:
        self._detectors = detectors
        self._batch_size = batch_size
        self._ears: dict[tuple[PendingVersion, str], _Ears] = {}

    def add(self, pieces: Sequence[Piece]) -> list[Finished]:
        """Listen to these pieces; the versions that end among them.

        Raises:
            OutOfMemory.
        """
        heard = [(piece.version, piece.window) for piece in pieces if piece.window]
        for detector in self._detectors:
            found = listen(detector, [window for _, window in heard], self._batch_size)
            for adapter in detector.adapters:
                for (version, _), one in zip(heard, found[adapter.name], strict=True):
                    self._note(version, adapter, one)
        return [self._finish(piece) for piece in pieces if not piece.window]

    def _note(self, version: PendingVersion, adapter: LoadedAdapter, heard: Heard) -> None:
        ears = self._ears.setdefault((version, adapter.name), _Ears(heard))
        ears.best = loudest([ears.best, heard])
        if heard.score >= adapter.detection.threshold and heard.time is not None:
            ears.loud = sorted([*ears.loud, heard], key=lambda one: -one.score)[:MAX_TIMES]

    def _finish(self, end: Piece) -> Finished:
        scores = []
        for detector in self._detectors:
            for adapter in detector.adapters:
                ears = self._ears.pop((end.version, adapter.name), None)
                problem = end.problem or (None if ears else "NoAudio")
                scores.append(_score(end.version, adapter, None if problem else ears, problem))
        return Finished(end.version, () if end.skipped else tuple(scores), end.skipped)


def _score(version: PendingVersion, adapter: LoadedAdapter, ears: _Ears | None, problem: str | None) -> VersionScore:
    return VersionScore(
        version.conversation_id,
        version.version_id,
        adapter.detection.event,
        adapter.name,
        ears.best.score if ears else None,
        adapter.detection.threshold,
        time=ears.best.time if ears else None,
        times=tuple(one.time for one in ears.loud if one.time is not None) if ears else (),
        problem=problem,
    )
