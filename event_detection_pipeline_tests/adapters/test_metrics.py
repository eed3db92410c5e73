"""Figures against values known from elsewhere."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.metrics import (
    average_precision,
    bootstrap,
    measure,
    measure_examples,
    precision_difference,
    proportion,
    rate_per_hour,
    roc_auc,
)
from event_detection_pipeline.config import SAMPLE_RATE


@pytest.mark.parametrize(("hits", "trials", "low"), [(10, 10, 0.72), (20, 20, 0.84)])
def test_wilson_bounds_are_the_known_ones(hits: int, trials: int, low: float) -> None:
    estimate = proportion(hits, trials, 0.95)
    assert estimate.value == 1.0
    assert estimate.low == pytest.approx(low, abs=0.005)
    assert estimate.high == pytest.approx(1.0)


def test_no_false_alarm_in_six_hours_shows_at_most_half_a_one_an_hour() -> None:
    # The one-sided 95 % bound of zero counts is -ln(0.05) = 3.0 (rule of three).
    estimate = rate_per_hour(0, 6.0, 0.90)
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(3.0 / 6, abs=0.001)


def test_a_perfect_ranking_has_average_precision_one_and_a_reversed_one_does_not() -> None:
    assert average_precision([False, True, True], [0.1, 0.8, 0.9]) == 1.0
    assert average_precision([True, False, False], [0.1, 0.8, 0.9]) == pytest.approx(1 / 3)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0])), min_size=1, max_size=30))
def test_ranking_figures_are_those_of_scikit_learn_ties_included(rows: list[tuple[bool, float]]) -> None:
    truth, scores = zip(*rows, strict=True)
    if len(set(truth)) == 2:
        assert average_precision(truth, scores) == pytest.approx(average_precision_score(truth, scores))
        assert roc_auc(truth, scores) == pytest.approx(roc_auc_score(truth, scores))
    else:
        assert average_precision(truth, scores) is roc_auc(truth, scores) is None


def test_the_same_scores_differ_by_nothing_and_better_ones_surely() -> None:
    truth, clusters = [True] * 20 + [False] * 20, [str(number) for number in range(40)]
    good, bad = [0.9] * 20 + [0.1] * 20, np.random.default_rng(0).uniform(size=40).tolist()
    same = precision_difference(truth, bad, bad, clusters, 0.9)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    better = precision_difference(truth, good, bad, clusters, 0.9)
    assert better.low is not None and better.low > 0


def test_the_quiet_point_is_the_highest_recall_with_half_an_alarm_an_hour() -> None:
    truth = [True] * 4 + [False] * 4
    scores = [0.9, 0.8, 0.4, 0.2, 0.7, 0.6, 0.3, 0.1]
    arguments = {"threshold": 0.95, "clusters": list("abcdefgh"), "confidence": 0.95}
    short = measure(truth, scores, hours=1.0, **arguments).quiet  # not one alarm fits into an hour
    assert (short.recall.value, short.false_alarms_per_hour.value) == (0.5, 0.0)
    long = measure(truth, scores, hours=4.0, **arguments).quiet  # two do into four
    assert (long.recall.value, long.false_alarms_per_hour.value) == (0.75, 0.5)
    assert long.false_alarms_per_hour.high == pytest.approx(7.22 / 4, abs=0.01)  # Garwood's bound of two counts


def test_figures_without_events_are_unknown_not_zero() -> None:
    metrics = measure([False, False], [0.2, 0.9], 0.5, clusters=["a", "b"], hours=0.5, confidence=0.95)
    assert metrics.average_precision.value is None
    assert metrics.recall.value is None
    assert metrics.false_alarm_rate.value == 0.5
    assert metrics.false_alarms_per_hour.value == 2.0
    assert str(metrics.recall) == "not measurable"


def test_figures_at_a_threshold_count_what_is_flagged() -> None:
    truth = [True, True, True, False, False]
    metrics = measure(truth, [0.9, 0.6, 0.2, 0.7, 0.1], 0.5, clusters=list("abcde"), hours=1.0, confidence=0.95)
    assert metrics.recall.value == pytest.approx(2 / 3)
    assert metrics.precision.value == pytest.approx(2 / 3)
    assert metrics.f1.value == pytest.approx(2 / 3)
    assert metrics.false_alarm_rate.value == 0.5


def test_hours_are_those_of_all_clips() -> None:
    half_an_hour = 1800 * SAMPLE_RATE
    examples = [Example(Path(), (), markers, half_an_hour, name) for markers, name in (((0,), "a"), ((), "b"))]
    metrics = measure_examples(examples, [0.9, 0.8], 0.5, 0.95)
    assert (metrics.hours, metrics.false_alarms_per_hour.value) == (1.0, 1.0)


def test_the_bootstrap_of_a_mean_is_about_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(size=200)
    low, high = bootstrap(lambda index: float(values[index].mean()), [str(number) for number in range(200)], 0.9)
    assert low is not None and high is not None
    assert high - low == pytest.approx(2 * 1.645 * values.std() / np.sqrt(200), rel=0.1)


def test_bootstrap_resamples_conversations_not_clips() -> None:
    # Two conversations of a hundred equal clips each hold two observations, not two hundred.
    values = np.array([0.0] * 100 + [1.0] * 100)
    clusters = ["a"] * 100 + ["b"] * 100
    low, high = bootstrap(lambda index: float(values[index].mean()), clusters, 0.9)
    assert (low, high) == (0.0, 1.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_intervals_hold_their_value(rows: list[tuple[bool, float]], threshold: float) -> None:
    truth, scores = zip(*rows, strict=True)
    hits = sum(score >= threshold for score in scores)
    estimate = proportion(hits, len(rows), 0.95)
    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
    assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9
    precision = average_precision(truth, scores)
    assert precision is None or 0 <= precision <= 1
