"""The gate, rule by rule, on figures made for it."""

from dataclasses import replace

import numpy as np
import pytest

from event_detection_pipeline.adapters.contender import Contender
from event_detection_pipeline.adapters.gate import Evidence, judge
from event_detection_pipeline.adapters.metrics import measure
from event_detection_pipeline.config import EvaluationSettings

SETTINGS = EvaluationSettings(min_test_events=20, min_test_conversations=5)
EVENTS, OTHERS = 24, 48
TRUTH = (True,) * EVENTS + (False,) * OTHERS
CONVERSATIONS = tuple(str(number) for number in range(EVENTS + OTHERS))
PERFECT = (0.9,) * EVENTS + (0.1,) * OTHERS
UNTRAINED = tuple(np.random.default_rng(0).uniform(0.0, 0.01, EVENTS + OTHERS).tolist())


def contender(name: str, scores: tuple[float, ...], truth: tuple[bool, ...] = TRUTH, hours: float = 1.0) -> Contender:
    clusters = CONVERSATIONS[: len(truth)]
    return Contender(name, measure(truth, scores, 0.5, clusters=clusters, hours=hours, confidence=0.95), scores, ())


def wrong_on(scores: tuple[float, ...], count: int) -> tuple[float, ...]:
    """The same with so many events ranked below everything."""
    return (0.01,) * count + scores[count:]


FIRST = Evidence(
    truth=TRUTH,
    conversations=CONVERSATIONS,
    candidate=contender("chime_v2", PERFECT),
    promoted=None,
    base=contender("base model", UNTRAINED),
    probe=contender("probe", PERFECT),
)
SECOND = replace(FIRST, promoted=contender("chime_v1", PERFECT))


def small(evidence: Evidence, events: int) -> Evidence:
    """The same with fewer events in the test."""
    keep = [*range(events), *range(EVENTS, EVENTS + OTHERS)]
    truth = tuple(TRUTH[index] for index in keep)

    def cut(one: Contender | None) -> Contender | None:
        return one and contender(one.name, tuple(one.scores[index] for index in keep), truth)

    candidate, base = cut(evidence.candidate), cut(evidence.base)
    assert candidate and base
    return Evidence(
        truth,
        tuple(CONVERSATIONS[index] for index in keep),
        candidate,
        cut(evidence.promoted),
        base,
        cut(evidence.probe),
        evidence.new_mistakes,
    )


def test_an_equal_candidate_passes_and_says_with_whom_it_was_compared() -> None:
    verdict = judge(SECOND, SETTINGS)
    assert verdict.passed
    assert verdict.against == "chime_v1"
    assert "not worse than chime_v1" in verdict.reason


def test_a_first_adapter_passes_against_nobody() -> None:
    verdict = judge(FIRST, SETTINGS)
    assert verdict.passed
    assert verdict.against is None
    assert verdict.reason == "first adapter of this event"


def test_a_first_adapter_on_little_evidence_passes_with_a_warning_and_a_second_one_does_not() -> None:
    first, second = judge(small(FIRST, 19), SETTINGS), judge(small(SECOND, 19), SETTINGS)
    assert first.passed
    assert "insufficient evidence: 19 test events from 19 conversations" in first.reason
    assert not second.passed
    assert second.reason.endswith("chime_v1 stays")
    assert judge(small(SECOND, 20), SETTINGS).passed


def test_many_events_of_few_conversations_are_little_evidence() -> None:
    same_room = replace(SECOND, conversations=("one",) * EVENTS + CONVERSATIONS[EVENTS:])
    verdict = judge(same_room, SETTINGS)
    assert not verdict.passed
    assert "24 test events from 1 conversations, 20 from 5 wanted" in verdict.reason


def test_without_events_there_is_nothing_to_judge_by() -> None:
    truth = (False,) * 10
    one = contender("chime_v2", (0.1,) * 10, truth)
    verdict = judge(Evidence(truth, CONVERSATIONS[:10], one, None, one, one), SETTINGS)
    assert not verdict.passed
    assert "0 events among 10 clips" in verdict.reason


def test_a_candidate_that_ranks_like_the_bare_model_is_refused() -> None:
    verdict = judge(replace(FIRST, candidate=contender("chime_v2", UNTRAINED), probe=None), SETTINGS)
    assert not verdict.passed
    assert "bare base model" in verdict.reason


def test_a_tie_with_the_probe_passes_and_a_sure_loss_does_not() -> None:
    tie = replace(FIRST, candidate=contender("chime_v2", wrong_on(PERFECT, 1)))
    assert judge(tie, SETTINGS).passed  # 23 of 24: one other clip could turn it around
    lost = replace(FIRST, candidate=contender("chime_v2", wrong_on(PERFECT, 6)))
    verdict = judge(lost, SETTINGS)
    assert not verdict.passed
    assert "linear probe" in verdict.reason
    assert judge(lost, SETTINGS.model_copy(update={"probe_tolerance": 0.5})).passed
    assert judge(replace(lost, probe=None), SETTINGS).passed  # an adapter from elsewhere brings no probe


def test_a_perfect_candidate_passes_beside_a_perfect_probe_however_small_the_test() -> None:
    assert judge(small(FIRST, 1), SETTINGS).passed


def test_a_candidate_that_may_rank_worse_than_the_promoted_one_is_refused() -> None:
    worse = replace(SECOND, candidate=contender("chime_v2", wrong_on(PERFECT, 4)), probe=None)
    verdict = judge(worse, SETTINGS)
    assert not verdict.passed
    assert "-0.05 is allowed" in verdict.reason
    assert judge(worse, SETTINGS.model_copy(update={"max_average_precision_drop": 0.5})).passed


def test_the_margin_is_on_the_lower_bound_not_on_the_difference_itself() -> None:
    slightly = replace(SECOND, candidate=contender("chime_v2", wrong_on(PERFECT, 1)), probe=None)
    assert not judge(slightly, SETTINGS.model_copy(update={"max_average_precision_drop": 0.03})).passed
    assert judge(slightly, SETTINGS.model_copy(update={"max_average_precision_drop": 0.2})).passed


def test_surely_more_false_alarms_are_refused_though_the_ranking_is_the_same() -> None:
    loud = (0.99,) * EVENTS + (0.6,) * OTHERS  # ranks perfectly, flags everything
    verdict = judge(replace(SECOND, candidate=contender("chime_v2", loud)), SETTINGS)
    assert not verdict.passed
    assert "false alarms an hour" in verdict.reason


def test_a_few_more_false_alarms_may_be_chance() -> None:
    two, four = ((0.9,) * EVENTS + (0.6,) * count + (0.1,) * (OTHERS - count) for count in (2, 4))
    beside = replace(SECOND, promoted=contender("chime_v1", two))
    assert judge(replace(beside, candidate=contender("chime_v2", four)), SETTINGS).passed


def test_a_new_mistake_on_the_golden_set_is_refused_whatever_the_figures() -> None:
    verdict = judge(replace(SECOND, new_mistakes=("data/golden/7.wav",)), SETTINGS)
    assert not verdict.passed
    assert "data/golden/7.wav" in verdict.reason


@pytest.mark.parametrize("seed", range(4))
def test_a_candidate_never_replaces_one_that_ranks_far_better(seed: int) -> None:
    scores = tuple(np.random.default_rng(seed).uniform(size=EVENTS + OTHERS).tolist())
    verdict = judge(replace(SECOND, candidate=contender("chime_v2", scores), probe=None), SETTINGS)
    assert not verdict.passed


@pytest.mark.parametrize("promoted", [None, FIRST.candidate])
def test_every_refusal_names_a_number_or_a_file(promoted: Contender | None) -> None:
    bad = contender("chime_v2", wrong_on(PERFECT, 12))
    verdict = judge(replace(FIRST, candidate=bad, promoted=promoted), SETTINGS)
    assert not verdict.passed
    assert any(character.isdigit() for character in verdict.reason)
    assert verdict.against == (promoted and promoted.name)


def test_a_score_at_the_threshold_is_flagged() -> None:
    assert contender("chime_v2", (0.5, *PERFECT[1:])).flags()[0]
