"""The threshold: from the validation split, by a stated rule, never from the test split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from event_detection_pipeline.config import EvaluationSettings

# Below this many validation events any rule would follow single clips.
MIN_VALIDATION_EVENTS = 3
MAX_CURVE_POINTS = 50
MARGIN = 1e-12  # keeps log-odds finite at probabilities of 0 and 1


@dataclass(frozen=True, slots=True)
class OperatingCurve:
    """What each of at most MAX_CURVE_POINTS thresholds gives on the validation split, the strictest first."""

    thresholds: tuple[float, ...]
    recalls: tuple[float, ...]
    false_alarm_rates: tuple[float, ...]


NO_CURVE = OperatingCurve((), (), ())


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold, and the rule that gave it, in words."""

    value: float
    rule: str


def choose_threshold(truth: Sequence[bool], scores: Sequence[float], settings: EvaluationSettings) -> Threshold:
    """The threshold that the configured rule gives on validation clips.

    Of all thresholds with the same figures it is the one halfway, in log-odds, between two clips: the middle has most
    room on new clips.
    """
    events = np.sort([score for score, event in zip(scores, truth, strict=True) if event])
    others = np.sort([score for score, event in zip(scores, truth, strict=True) if not event])
    on_these = f"on {len(events)} events and {len(others)} others of the validation split"
    if len(events) < MIN_VALIDATION_EVENTS or len(others) < MIN_VALIDATION_EVENTS:
        return Threshold(
            settings.default_threshold,
            f"default: {len(events)} events and {len(others)} others in validation, "
            f"at least {MIN_VALIDATION_EVENTS} of each needed",
        )
    if settings.threshold_rule == "best_f1":
        return Threshold(_best_f1(events, others), f"best F1 {on_these}")
    target = settings.target_false_alarm_rate
    return Threshold(
        _highest_recall(events, others, target),
        f"highest recall with a false-alarm rate of at most {target:g} {on_these}",
    )


def operating_curve(truth: Sequence[bool], scores: Sequence[float]) -> OperatingCurve:
    """Recall and false-alarm rate at thresholds spread evenly over the scores of validation clips; empty without both
    classes."""
    labels, values = np.asarray(truth, dtype=bool), np.asarray(scores, dtype=float)
    if len(set(labels.tolist())) < 2:
        return NO_CURVE
    steps = np.unique(values)[::-1]
    chosen = steps[np.unique(np.linspace(0, len(steps) - 1, MAX_CURVE_POINTS).round().astype(int))]
    return OperatingCurve(
        tuple(chosen.tolist()),
        tuple(float((values[labels] >= one).mean()) for one in chosen),
        tuple(float((values[~labels] >= one).mean()) for one in chosen),
    )


def _highest_recall(events: np.ndarray, others: np.ndarray, target: float) -> float:
    """Between the loudest other clip that must stay quiet and the quietest event above it; both sorted."""
    loudest_quiet = others[len(others) - 1 - int(target * len(others))]
    above = events[events > loudest_quiet]
    return _between(loudest_quiet, above[0] if len(above) else np.inf)


def _best_f1(events: np.ndarray, others: np.ndarray) -> float:
    """Of the cuts with the highest F1 the one with most room around it, in log-odds."""
    steps = np.unique(np.concatenate([events, others]))
    cuts = zip([-np.inf, *steps[:-1]], steps, strict=True)

    def f1(below: float) -> float:
        hits, alarms = int((events > below).sum()), int((others > below).sum())
        return 2 * hits / (hits + alarms + len(events))

    below, above = max(cuts, key=lambda cut: (f1(cut[0]), log_odds(cut[1]) - log_odds(cut[0])))
    return _between(below, above)


def _between(quiet: float, loud: float) -> float:
    """Halfway in log-odds; whatever the rounding, the quiet one stays below it and the loud one does not."""
    middle = from_log_odds((log_odds(quiet) + log_odds(loud)) / 2)
    return float(min(max(middle, np.nextafter(quiet, np.inf)), loud))


def log_odds(probability: float) -> float:
    """Finite also at 0 and 1 (MARGIN)."""
    clipped = min(max(probability, MARGIN), 1 - MARGIN)
    return float(np.log(clipped / (1 - clipped)))


def from_log_odds(value: float) -> float:
    """The probability of log-odds."""
    return float(1 / (1 + np.exp(-value)))
