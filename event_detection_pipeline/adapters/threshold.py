"""The threshold: from the validation split, by a stated rule, never from the test split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Below this many validation events the highest-recall rule would follow single clips.
MIN_VALIDATION_EVENTS = 3
MARGIN = 1e-12  # keeps log-odds finite at probabilities of 0 and 1


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and the rule that gave it, in words."""

    value: float
    rule: str


def choose_threshold(
    truth: Sequence[bool], scores: Sequence[float], *, target_false_alarm_rate: float, default: float
) -> Threshold:
    """Highest recall with a false-alarm rate of at most the target, on validation clips.

    The threshold is put halfway, in log-odds, between the loudest other clip that must stay quiet and the quietest
    event above it: any value between the two gives the same figures here, the middle has most room on new clips.
    """
    events = np.sort([score for score, event in zip(scores, truth, strict=True) if event])
    others = np.sort([score for score, event in zip(scores, truth, strict=True) if not event])
    if len(events) < MIN_VALIDATION_EVENTS or len(others) < MIN_VALIDATION_EVENTS:
        return Threshold(
            default,
            f"default: {len(events)} events and {len(others)} others in validation, "
            f"at least {MIN_VALIDATION_EVENTS} of each needed",
        )
    allowed = int(target_false_alarm_rate * len(others))
    loudest_quiet = others[len(others) - 1 - allowed]
    above = events[events > loudest_quiet]
    quietest_event = above[0] if len(above) else 1.0
    middle = _from_log_odds((_log_odds(loudest_quiet) + _log_odds(quietest_event)) / 2)
    value = max(middle, float(np.nextafter(loudest_quiet, np.inf)))
    return Threshold(
        value,
        f"highest recall with a false-alarm rate of at most {target_false_alarm_rate:g} on {len(events)} events "
        f"and {len(others)} others of the validation split",
    )


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, MARGIN), 1 - MARGIN)
    return float(np.log(clipped / (1 - clipped)))


def _from_log_odds(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))
