"""Contenders: detectors side by side on the same clips, each with its scores and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from event_detection_pipeline.adapters.detector import Detector, load_detectors
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.estimate import Estimate
from event_detection_pipeline.adapters.evaluation_set import KINDS, EvaluationSet
from event_detection_pipeline.adapters.metrics import Metrics, measure_examples, proportion
from event_detection_pipeline.adapters.probe import PROBE_FILE, load_probe, pooled_states
from event_detection_pipeline.adapters.scoring import ClipScore, score_examples
from event_detection_pipeline.adapters.timing import Timing, measure_timing

BASE_MODEL, PROBE = "base model", "probe"


@dataclass(frozen=True, slots=True)
class KindFigures:
    """How many clips of a kind (the event, other sounds, plain speech) are flagged."""

    kind: str
    clips: int
    flagged: int
    share: Estimate


@dataclass(frozen=True, slots=True)
class Contender:
    """One detector on labelled clips, at its own threshold. `timing` is None for those that do not say when."""

    name: str
    metrics: Metrics
    scores: tuple[float, ...]
    by_kind: tuple[KindFigures, ...]
    timing: Timing | None = None

    def flags(self) -> tuple[bool, ...]:
        """For each clip whether it is flagged."""
        return tuple(score >= self.metrics.threshold for score in self.scores)


def load_detector(folder: Path, compute: Compute) -> Detector:
    """One adapter on its base model.

    Raises:
        NoSuchAdapter, BrokenAdapter, BaseModelUnavailable.
    """
    (detector,) = load_detectors([folder], compute)
    return detector


def adapter_on(detector: Detector, clips: EvaluationSet, confidence: float) -> Contender:
    """The detector's adapter on the clips."""
    (adapter,) = detector.adapters
    found = detector.score_examples(clips.examples)[adapter.name]
    threshold = adapter.detection.threshold
    timing = measure_timing(clips.clips, found, threshold, confidence)
    return _contender(adapter.name, clips, _scores(found), threshold, confidence, timing)


def base_model_on(detector: Detector, clips: EvaluationSet, confidence: float) -> Contender:
    """The bare base model of the detector's adapter on the clips, at the adapter's threshold."""
    (adapter,) = detector.adapters
    with detector.model.disable_adapter():
        found = score_examples(detector.model, detector.whisper, adapter.marker, clips.examples)
    return _contender(BASE_MODEL, clips, _scores(found), adapter.detection.threshold, confidence)


def probe_on(detector: Detector, folder: Path, clips: EvaluationSet, confidence: float) -> Contender | None:
    """The probe that was trained beside the adapter, or None where there is none."""
    probe = load_probe(folder / PROBE_FILE)
    if probe is None:
        return None
    with detector.model.disable_adapter():
        features = pooled_states(detector.whisper, clips.examples, probe.depth)
    return _contender(PROBE, clips, tuple(probe.scores(features)), probe.threshold, confidence)


def _scores(found: Sequence[ClipScore]) -> tuple[float, ...]:
    return tuple(one.score for one in found)


def _contender(
    name: str,
    clips: EvaluationSet,
    scores: tuple[float, ...],
    threshold: float,
    confidence: float,
    timing: Timing | None = None,
) -> Contender:
    figures = []
    for kind in KINDS:
        of_kind = [score for score, one in zip(scores, clips.kinds, strict=True) if one == kind]
        flagged = sum(score >= threshold for score in of_kind)
        if of_kind:
            figures.append(KindFigures(kind, len(of_kind), flagged, proportion(flagged, len(of_kind), confidence)))
    return Contender(
        name, measure_examples(clips.examples, scores, threshold, confidence), scores, tuple(figures), timing
    )
