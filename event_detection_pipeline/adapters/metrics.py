"""Figures of a detector from scores and truth, each with its interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, chi2

from event_detection_pipeline.adapters.estimate import UNKNOWN, Estimate
from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.config import SAMPLE_RATE

BOOTSTRAP_ROUNDS = 1000
# What a household bears: a false pop-up every two hours of talk (the headline figure of the evaluation).
QUIET_ALARMS_PER_HOUR = 0.5


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a detector finds, and how often it is wrong, at a threshold."""

    threshold: float
    recall: Estimate
    false_alarms_per_hour: Estimate


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well a detector does on labelled clips, at one threshold.

    `quiet` is the highest recall with at most QUIET_ALARMS_PER_HOUR on these very clips, whatever the threshold in use:
    what the ranking allows, not what the threshold keeps.
    """

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
    quiet: OperatingPoint


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


def average_precision(truth: Sequence[bool] | np.ndarray, scores: Sequence[float] | np.ndarray) -> float | None:
    """Area under the precision-recall curve, as scikit-learn defines it: the sum of precision times the step in recall
    over all thresholds, clips of equal score entering together. None without both classes.

    scikit-learn's own takes a millisecond for what a bootstrap does thousands of times.
    """
    found, flagged = _roc_steps(truth, scores)
    if not 0 < found[-1] < flagged[-1]:
        return None
    return float(np.sum(np.diff(found, prepend=0) * found / flagged) / found[-1])


def roc_auc(truth: Sequence[bool] | np.ndarray, scores: Sequence[float] | np.ndarray) -> float | None:
    """Area under the ROC curve by the trapezoidal rule; None without both classes."""
    found, flagged = _roc_steps(truth, scores)
    if not 0 < found[-1] < flagged[-1]:
        return None
    alarms = flagged - found
    recall = np.concatenate([[0], found]) / found[-1]
    return float(np.sum(np.diff(alarms, prepend=0) * (recall[1:] + recall[:-1]) / 2) / alarms[-1])


def _roc_steps(
    truth: Sequence[bool] | np.ndarray, scores: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """At each distinct score, from the highest: how many events, and how many clips, score at least that; (1,) of zeros
    without clips."""
    values = np.asarray(scores, dtype=float)
    if len(values) == 0:
        return np.zeros(1, dtype=int), np.zeros(1, dtype=int)
    order = np.argsort(-values, kind="stable")
    last_of_score = np.flatnonzero(np.diff(values[order], append=-np.inf))
    return np.cumsum(np.asarray(truth, dtype=bool)[order])[last_of_score], last_of_score + 1


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


def precision_difference(
    truth: Sequence[bool], ours: Sequence[float], theirs: Sequence[float], clusters: Sequence[str], confidence: float
) -> Estimate:
    """Our average precision less theirs on the same clips, with the interval of the paired bootstrap by cluster."""
    labels, a, b = np.asarray(truth, dtype=bool), np.asarray(ours), np.asarray(theirs)

    def difference(index: np.ndarray) -> float | None:
        first, second = (average_precision(labels[index], one[index]) for one in (a, b))
        return None if first is None or second is None else first - second

    value = difference(np.arange(len(labels)))
    return UNKNOWN if value is None else Estimate(value, *bootstrap(difference, clusters, confidence))


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
        average_precision=interval(average_precision),
        roc_auc=interval(roc_auc),
        precision=proportion(hits, hits + alarms, confidence),
        recall=proportion(hits, events, confidence),
        f1=interval(lambda a, b: _f1(a, b >= threshold)),
        false_alarm_rate=proportion(alarms, others, confidence),
        false_alarms_per_hour=rate_per_hour(alarms, hours, confidence),
        quiet=quiet_point(labels, values, hours, confidence),
    )


def quiet_point(truth: np.ndarray, scores: np.ndarray, hours: float, confidence: float) -> OperatingPoint:
    """The lowest threshold with at most QUIET_ALARMS_PER_HOUR on these clips; `truth` bool, `scores` in [0, 1]."""
    others = np.sort(scores[~truth])[::-1]
    allowed = int(QUIET_ALARMS_PER_HOUR * hours)
    threshold = float(np.nextafter(others[allowed], np.inf)) if allowed < len(others) else 0.0
    flagged = scores >= threshold
    return OperatingPoint(
        threshold,
        proportion(int((flagged & truth).sum()), int(truth.sum()), confidence),
        rate_per_hour(int((flagged & ~truth).sum()), hours, confidence),
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
