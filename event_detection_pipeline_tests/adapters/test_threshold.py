"""The threshold keeps its promise on the clips it was chosen on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.adapters.threshold import MIN_VALIDATION_EVENTS, choose_threshold

scores = st.floats(0.0, 1.0)


def test_it_lies_between_the_classes_when_they_are_apart() -> None:
    chosen = choose_threshold(
        [True] * 4 + [False] * 4, [0.9, 0.8, 0.7, 0.95, 0.1, 0.2, 0.3, 0.05], target_false_alarm_rate=0.05, default=0.5
    )
    assert chosen.value == pytest.approx(0.5, abs=0.01)  # halfway in log-odds between 0.3 and 0.7


def test_probabilities_that_are_all_low_still_get_a_threshold_between_them() -> None:
    chosen = choose_threshold(
        [True] * 3 + [False] * 3, [0.02, 0.03, 0.04, 1e-5, 1e-4, 1e-4], target_false_alarm_rate=0.05, default=0.5
    )
    assert 1e-4 < chosen.value < 0.02


def test_few_events_give_the_default_and_say_so() -> None:
    few = MIN_VALIDATION_EVENTS - 1
    chosen = choose_threshold(
        [True] * few + [False] * 9, [0.9] * few + [0.1] * 9, target_false_alarm_rate=0.05, default=0.4
    )
    assert chosen.value == 0.4
    assert chosen.rule.startswith(f"default: {few} events")


@given(
    st.lists(scores, min_size=MIN_VALIDATION_EVENTS, max_size=20),
    st.lists(scores, min_size=MIN_VALIDATION_EVENTS, max_size=40),
    st.floats(0.01, 0.5),
)
def test_false_alarms_stay_at_or_below_the_target(events: list[float], others: list[float], target: float) -> None:
    truth = [True] * len(events) + [False] * len(others)
    chosen = choose_threshold(truth, events + others, target_false_alarm_rate=target, default=0.5)
    alarms = sum(score >= chosen.value for score in others)
    assert alarms <= target * len(others)


@given(st.lists(st.floats(0.5, 0.99), min_size=3, max_size=20), st.lists(st.floats(0.01, 0.4), min_size=3, max_size=40))
def test_separable_classes_are_separated(events: list[float], others: list[float]) -> None:
    truth = [True] * len(events) + [False] * len(others)
    chosen = choose_threshold(truth, events + others, target_false_alarm_rate=0.05, default=0.5)
    assert all(score >= chosen.value for score in events)
