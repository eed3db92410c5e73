"""The gate: whether a candidate may replace the promoted adapter, decided by figures alone, and which one decided.

The rules, in this order; the first that fails is the reason:
1. the test can judge at all: it has events and others;
2. the candidate ranks better than the bare base model, and not surely worse than the probe: the upper bound of the
   difference in average precision, by the paired bootstrap over conversations, is not below `-probe_tolerance`;
3. it makes no new mistake on the golden set;
4. without a promoted adapter it passes now, with a warning where the test is small;
5. the test is large enough to replace something that works (`min_test_events` from `min_test_conversations`);
6. it surely ranks no worse than the promoted adapter: the lower bound of that difference is not below
   `-max_average_precision_drop`;
7. its false alarms are not surely more: the lower bound of its hourly rate is not above the promoted one's rate.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from event_detection_pipeline.adapters.contender import Contender
from event_detection_pipeline.adapters.estimate import Estimate
from event_detection_pipeline.adapters.metrics import precision_difference
from event_detection_pipeline.adapters.verdict import Verdict
from event_detection_pipeline.config import EvaluationSettings


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gate looks at.

    Attributes:
        truth: whether each test clip has the event.
        conversations: of each test clip.
        probe: None for an adapter that was stored without one.
        new_mistakes: golden clips that the promoted adapter gets right and the candidate does not.
    """

    truth: tuple[bool, ...]
    conversations: tuple[str, ...]
    candidate: Contender
    promoted: Contender | None
    base: Contender
    probe: Contender | None
    new_mistakes: tuple[str, ...] = ()


def judge(evidence: Evidence, settings: EvaluationSettings) -> Verdict:
    """The verdict on a candidate, and the figure that decided it."""
    promoted = evidence.promoted
    against = promoted.name if promoted else None
    for failure in (*_cheap_rivals(evidence, settings), *_golden_set(evidence)):
        return Verdict(False, failure, against)
    thin = _too_little_evidence(evidence, settings)
    if promoted is None:
        return Verdict(True, f"first adapter of this event{f' ({thin})' if thin else ''}")
    if thin:
        return Verdict(False, f"{thin}; {promoted.name} stays", against)
    difference = difference_to(evidence, promoted, settings)
    for failure in (*_ranking(difference, promoted, settings), *_false_alarms(evidence.candidate, promoted)):
        return Verdict(False, failure, against)
    return Verdict(
        True, f"not worse than {promoted.name}: average precision differs by at least {difference.low:+.3f}", against
    )


def _cheap_rivals(evidence: Evidence, settings: EvaluationSettings) -> Iterator[str]:
    precision = evidence.candidate.metrics.average_precision.value
    if precision is None:
        events = sum(evidence.truth)
        yield f"the test split has {events} events among {len(evidence.truth)} clips: nothing to judge by"
        return
    base = evidence.base.metrics.average_precision
    if precision <= (base.value or 0.0):
        yield f"average precision {precision:.3f} is not above the bare base model's {base}"
    if evidence.probe:
        difference = difference_to(evidence, evidence.probe, settings)
        if difference.high is not None and difference.high < -settings.probe_tolerance:
            yield (
                f"average precision {precision:.3f} is at least {-difference.high:.3f} below the "
                f"{evidence.probe.metrics.average_precision} of a linear probe on the frozen encoder: "
                "the training made things worse"
            )


def difference_to(evidence: Evidence, rival: Contender, settings: EvaluationSettings) -> Estimate:
    """The candidate's average precision less the rival's, with the interval at `gate_confidence`."""
    ours, theirs = evidence.candidate.scores, rival.scores
    return precision_difference(evidence.truth, ours, theirs, evidence.conversations, settings.gate_confidence)


def _golden_set(evidence: Evidence) -> Iterator[str]:
    if evidence.new_mistakes:
        assert evidence.promoted is not None
        yield (
            f"{len(evidence.new_mistakes)} clips of the golden set are wrong that {evidence.promoted.name} has right, "
            f"such as {evidence.new_mistakes[0]}"
        )


def _too_little_evidence(evidence: Evidence, settings: EvaluationSettings) -> str | None:
    events = sum(evidence.truth)
    with_event = {one for one, event in zip(evidence.conversations, evidence.truth, strict=True) if event}
    if events >= settings.min_test_events and len(with_event) >= settings.min_test_conversations:
        return None
    return (
        f"insufficient evidence: {events} test events from {len(with_event)} conversations, "
        f"{settings.min_test_events} from {settings.min_test_conversations} wanted"
    )


def _ranking(difference: Estimate, promoted: Contender, settings: EvaluationSettings) -> Iterator[str]:
    allowed = settings.max_average_precision_drop
    if difference.value is None or difference.low is None or difference.low < -allowed:
        by = (
            "an unknown amount"
            if difference.value is None
            else f"{difference.value:+.3f}, perhaps {difference.low:+.3f}"
        )
        yield f"average precision differs from {promoted.name}'s by {by}; {-allowed:+g} is allowed"


def _false_alarms(candidate: Contender, promoted: Contender) -> Iterator[str]:
    ours, theirs = candidate.metrics.false_alarms_per_hour, promoted.metrics.false_alarms_per_hour
    if ours.low is not None and theirs.value is not None and ours.low > theirs.value:
        yield f"{ours} false alarms an hour are more than {promoted.name}'s {theirs}"
