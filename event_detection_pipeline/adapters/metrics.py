"""Figures of a detector from scores and truth, each with its interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, chi2
from sklearn.metrics import average_precision_score, roc_auc_score

from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.config import SAMPLE_RATE

BOOTSTRAP_ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its confidence interval; `value` is None where the data cannot give it (no events, say)."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.value is None:
            return "not measurable"
        if self.low is None or self.high is None:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


UNKNOWN = Estimate(None, None, None)


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well a detector does on labelled clips, at one threshold."""

    clips: int
    events: int
    hours: float
    threshold: float
    average_precision: Estimate
    roc_auc: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    false_alarm_rate: Estimate
    false_alarms_per_hour: Estimate


def proportion(successes: int, trials: int, confidence: float) -> Estimate:
    """A share with Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22:209)."""
    if trials == 0:
        return UNKNOWN
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return Estimate(successes / trials, interval.low, interval.high)


def rate_per_hour(count: int, hours: float, confidence: float) -> Estimate:
    """Events an hour with the exact Poisson interval (Garwood 1936, Biometrika 28:437)."""
    if hours <= 0:
        return UNKNOWN
    tail = (1 - confidence) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    return Estimate(count / hours, float(low) / hours, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2 / hours)


def average_precision(truth: Sequence[bool], scores: Sequence[float]) -> float | None:
    """Area under the precision-recall curve (scikit-learn's), or None without both classes."""
    if len(set(truth)) < 2:
        return None
    return float(average_precision_score(list(truth), list(scores)))


def bootstrap(
    statistic: Callable[[np.ndarray], float | None], clusters: Sequence[str], confidence: float, seed: int = 0
) -> tuple[float | None, float | None]:
    """Percentile interval of a statistic, resampling whole clusters (conversations): clips of one are not independent.

    Args:
        statistic: of an int array of clip indices; None where it is undefined on a resample.
        clusters: the cluster of each clip.
    """
    names = sorted(set(clusters))
    members = {name: np.array([i for i, cluster in enumerate(clusters) if cluster == name]) for name in names}
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(BOOTSTRAP_ROUNDS):
        drawn = rng.choice(len(names), len(names))
        value = statistic(np.concatenate([members[names[i]] for i in drawn]))
        if value is not None:
            values.append(value)
    if not values:
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def measure(
    truth: Sequence[bool],
    scores: Sequence[float],
    threshold: float,
    *,
    clusters: Sequence[str],
    hours: float,
    confidence: float,
) -> Metrics:
    """All figures of a set of clips.

    Args:
        truth: whether each clip has the event.
        scores: in [0, 1], higher is more likely.
        clusters: the conversation of each clip.
        hours: length of all clips together.
        confidence: of the intervals, such as 0.95.
    """
    labels = np.asarray(truth, dtype=bool)
    values = np.asarray(scores, dtype=float)
    flagged = values >= threshold
    hits, alarms = int((flagged & labels).sum()), int((flagged & ~labels).sum())
    events, others = int(labels.sum()), int((~labels).sum())

    def interval(of: Callable[[np.ndarray, np.ndarray], float | None]) -> Estimate:
        value = of(labels, values)
        if value is None:
            return UNKNOWN
        return Estimate(value, *bootstrap(lambda index: of(labels[index], values[index]), clusters, confidence))

    return Metrics(
        clips=len(labels),
        events=events,
        hours=hours,
        threshold=threshold,
        average_precision=interval(lambda a, b: average_precision(a.tolist(), b.tolist())),
        roc_auc=interval(lambda a, b: float(roc_auc_score(a, b)) if 0 < a.sum() < len(a) else None),
        precision=proportion(hits, hits + alarms, confidence),
        recall=proportion(hits, events, confidence),
        f1=interval(lambda a, b: _f1(a, b >= threshold)),
        false_alarm_rate=proportion(alarms, others, confidence),
        false_alarms_per_hour=rate_per_hour(alarms, hours, confidence),
    )


def measure_examples(
    examples: Sequence[Example], scores: Sequence[float], threshold: float, confidence: float
) -> Metrics:
    """`measure` of scored examples."""
    return measure(
        [example.contains_event for example in examples],
        scores,
        threshold,
        clusters=[example.conversation_id for example in examples],
        hours=sum(example.samples for example in examples) / SAMPLE_RATE / 3600,
        confidence=confidence,
    )


def _f1(truth: np.ndarray, flagged: np.ndarray) -> float | None:
    wrong = int((truth != flagged).sum())
    hits = int((truth & flagged).sum())
    return 2 * hits / (2 * hits + wrong) if truth.any() else None
