"""Evaluation: a candidate on the test split, beside the promoted adapter and the bare base model, and the verdict."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from event_detection_pipeline.adapters.candidate import load_examples
from event_detection_pipeline.adapters.detector import load_detectors
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.marker import marker_of
from event_detection_pipeline.adapters.metrics import Metrics, average_precision, bootstrap, measure_examples
from event_detection_pipeline.adapters.release import read_detection, write_json
from event_detection_pipeline.adapters.scoring import score_examples
from event_detection_pipeline.adapters.verdict import Verdict
from event_detection_pipeline.adapters.whisper import load_whisper
from event_detection_pipeline.clips.manifest import read_manifest
from event_detection_pipeline.config import EvaluationSettings, EventSettings
from event_detection_pipeline.errors import PipelineError


class NoTestClips(PipelineError):
    """The manifest's test split is empty."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One detector on the test clips."""

    name: str
    metrics: Metrics
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Who was compared on which clips, and what follows."""

    candidate: Contender
    promoted: Contender | None
    base: Contender
    clips: tuple[str, ...]
    truth: tuple[bool, ...]
    verdict: Verdict


def evaluate_candidate(
    manifest: Path,
    candidate: Path,
    promoted: Path | None,
    event: EventSettings,
    settings: EvaluationSettings,
    compute: Compute,
) -> Evaluation:
    """Score the test split of a manifest with each contender and decide.

    Raises:
        NoTestClips, NoUsableClips, BrokenManifest, NoSuchAdapter, BrokenAdapter.
    """
    test = load_test_split(manifest, event)
    challenger = score_adapter(candidate, test, settings.confidence, compute)
    champion = score_adapter(promoted, test, settings.confidence, compute) if promoted else None
    base = score_base(candidate, test, settings.confidence, compute)
    return Evaluation(
        candidate=challenger,
        promoted=champion,
        base=base,
        clips=tuple(str(example.audio) for example in test),
        truth=tuple(example.contains_event for example in test),
        verdict=judge(challenger, champion, base, test, settings),
    )


def load_test_split(manifest: Path, event: EventSettings) -> list[Example]:
    """The test clips of a manifest.

    Raises:
        NoTestClips, NoUsableClips, BrokenManifest.
    """
    splits, _ = load_examples(read_manifest(manifest, source_tag=event.source_tag), event)
    if not splits["test"]:
        raise NoTestClips(
            f"{manifest} has no clip in its test split; review more conversations: a share of clips.test_fraction of "
            "them lands there"
        )
    return splits["test"]


def score_adapter(folder: Path, examples: Sequence[Example], confidence: float, compute: Compute) -> Contender:
    """An adapter on examples, at its own threshold."""
    (detector,) = load_detectors([folder], compute)
    (adapter,) = detector.adapters
    found = score_examples(detector.model, detector.whisper, adapter.marker, examples)
    scores = tuple(one.score for one in found)
    return Contender(adapter.name, measure_examples(examples, scores, adapter.detection.threshold, confidence), scores)


def score_base(folder: Path, examples: Sequence[Example], confidence: float, compute: Compute) -> Contender:
    """The bare base model of an adapter on examples, at the adapter's threshold."""
    detection = read_detection(folder)
    whisper = load_whisper(detection.base_model, compute)
    marker = marker_of(whisper.tokenizer, detection.target_token)
    scores = tuple(one.score for one in score_examples(whisper.model, whisper, marker, examples))
    return Contender("base model", measure_examples(examples, scores, detection.threshold, confidence), scores)


def judge(
    candidate: Contender,
    promoted: Contender | None,
    base: Contender,
    examples: Sequence[Example],
    settings: EvaluationSettings,
) -> Verdict:
    """The gate. A candidate must rank better than the bare model and must not be worse than the promoted adapter:
    the lower bound of the paired difference in average precision, resampled by conversation, stays above the margin,
    and its false alarms an hour are not significantly more."""
    precision = candidate.metrics.average_precision.value
    if precision is None:
        return Verdict(
            False,
            f"the test split has {candidate.metrics.events} events among {len(examples)} clips: nothing to judge by",
        )
    if precision <= (base.metrics.average_precision.value or 0.0):
        return Verdict(
            False,
            f"average precision {precision:.3f} is not above the bare base model's {base.metrics.average_precision}",
        )
    events = candidate.metrics.events
    few = events < settings.min_test_events
    evidence = f"insufficient evidence: {events} test events, {settings.min_test_events} wanted"
    if promoted is None:
        return Verdict(True, f"first adapter of this event{f' ({evidence})' if few else ''}")
    if few:
        return Verdict(False, f"{evidence}; {promoted.name} stays")
    low = _difference_low(candidate.scores, promoted.scores, examples, settings.confidence)
    if low is None or low < -settings.max_average_precision_drop:
        return Verdict(
            False,
            f"average precision may be up to {-(low or 0):.3f} below {promoted.name}'s, "
            f"{settings.max_average_precision_drop:g} is allowed",
        )
    ours, theirs = candidate.metrics.false_alarms_per_hour, promoted.metrics.false_alarms_per_hour
    if ours.low is not None and theirs.value is not None and ours.low > theirs.value:
        return Verdict(False, f"false alarms an hour {ours} are more than {promoted.name}'s {theirs}")
    return Verdict(True, f"not worse than {promoted.name}: average precision differs by at least {low:+.3f}")


def _difference_low(
    ours: Sequence[float], theirs: Sequence[float], examples: Sequence[Example], confidence: float
) -> float | None:
    truth = np.array([example.contains_event for example in examples])
    a, b = np.asarray(ours), np.asarray(theirs)

    def difference(index: np.ndarray) -> float | None:
        first = average_precision(truth[index].tolist(), a[index].tolist())
        second = average_precision(truth[index].tolist(), b[index].tolist())
        return None if first is None or second is None else first - second

    return bootstrap(difference, [example.conversation_id for example in examples], confidence)[0]


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    write_json(path, asdict(evaluation))
