"""The threshold keeps its promise on the clips it was chosen on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.adapters.threshold import (
    MAX_CURVE_POINTS,
    MIN_VALIDATION_EVENTS,
    choose_threshold,
    operating_curve,
)
from event_detection_pipeline.config import EvaluationSettings

SETTINGS = EvaluationSettings(target_false_alarm_rate=0.05)
BEST_F1 = EvaluationSettings(threshold_rule="best_f1")

scores = st.floats(0.0, 1.0)
classes = st.tuples(
    st.lists(scores, min_size=MIN_VALIDATION_EVENTS, max_size=20),
    st.lists(scores, min_size=MIN_VALIDATION_EVENTS, max_size=40),
)


def f1(events: list[float], others: list[float], threshold: float) -> float:
    hits, alarms = (sum(score >= threshold for score in one) for one in (events, others))
    return 2 * hits / (hits + alarms + len(events))


@pytest.mark.parametrize("settings", [SETTINGS, BEST_F1])
def test_it_lies_between_the_classes_when_they_are_apart(settings: EvaluationSettings) -> None:
    chosen = choose_threshold([True] * 4 + [False] * 4, [0.9, 0.8, 0.7, 0.95, 0.1, 0.2, 0.3, 0.05], settings)
    assert chosen.value == pytest.approx(0.5, abs=0.01)  # halfway in log-odds between 0.3 and 0.7


def test_probabilities_that_are_all_low_still_get_a_threshold_between_them() -> None:
    chosen = choose_threshold([True] * 3 + [False] * 3, [0.02, 0.03, 0.04, 1e-5, 1e-4, 1e-4], SETTINGS)
    assert 1e-4 < chosen.value < 0.02


@pytest.mark.parametrize("rule", ["highest_recall", "best_f1"])
@pytest.mark.parametrize(("events", "others"), [(MIN_VALIDATION_EVENTS - 1, 9), (9, MIN_VALIDATION_EVENTS - 1)])
def test_few_clips_of_a_class_give_the_default_and_say_so(rule: str, events: int, others: int) -> None:
    settings = EvaluationSettings.model_validate({"default_threshold": 0.4, "threshold_rule": rule})
    chosen = choose_threshold([True] * events + [False] * others, [0.9] * events + [0.1] * others, settings)
    assert chosen.value == 0.4
    assert chosen.rule.startswith(f"default: {events} events and {others} others in validation")


def test_the_two_rules_differ_where_one_loud_other_clip_costs_half_of_the_events() -> None:
    truth = [True] * 4 + [False] * 4
    values = [0.9, 0.8, 0.3, 0.2, 0.4, 0.1, 0.05, 0.01]
    strict, even = choose_threshold(truth, values, SETTINGS), choose_threshold(truth, values, BEST_F1)
    assert 0.4 < strict.value < 0.8  # no false alarm is allowed among four
    assert 0.1 < even.value < 0.2  # F1 of 8/9: all four found, one alarm
    assert "best F1" in even.rule


@given(classes, st.floats(0.01, 0.5))
def test_false_alarms_stay_at_or_below_the_target(of: tuple[list[float], list[float]], target: float) -> None:
    events, others = of
    settings = EvaluationSettings(target_false_alarm_rate=target)
    chosen = choose_threshold([True] * len(events) + [False] * len(others), events + others, settings)
    assert sum(score >= chosen.value for score in others) <= target * len(others)


@given(classes)
def test_no_other_threshold_has_a_better_f1(of: tuple[list[float], list[float]]) -> None:
    events, others = of
    chosen = choose_threshold([True] * len(events) + [False] * len(others), events + others, BEST_F1)
    best = max(f1(events, others, threshold) for threshold in (*events, *others))
    assert f1(events, others, chosen.value) == pytest.approx(best)


@given(st.lists(st.floats(0.5, 0.99), min_size=3, max_size=20), st.lists(st.floats(0.01, 0.4), min_size=3, max_size=40))
def test_separable_classes_are_separated(events: list[float], others: list[float]) -> None:
    chosen = choose_threshold([True] * len(events) + [False] * len(others), events + others, SETTINGS)
    assert all(score >= chosen.value for score in events)


@given(st.lists(scores, min_size=1, max_size=80), st.lists(scores, min_size=1, max_size=80))
def test_the_operating_curve_is_short_ends_with_everything_flagged_and_never_falls(
    events: list[float], others: list[float]
) -> None:
    curve = operating_curve([True] * len(events) + [False] * len(others), events + others)
    assert 1 <= len(curve.thresholds) == len(curve.recalls) == len(curve.false_alarm_rates) <= MAX_CURVE_POINTS
    assert list(curve.thresholds) == sorted(curve.thresholds, reverse=True)
    assert list(curve.recalls) == sorted(curve.recalls)
    assert list(curve.false_alarm_rates) == sorted(curve.false_alarm_rates)
    assert curve.recalls[-1] == curve.false_alarm_rates[-1] == 1.0


def test_one_class_alone_has_no_curve() -> None:
    assert operating_curve([True, True], [0.1, 0.9]).thresholds == ()
