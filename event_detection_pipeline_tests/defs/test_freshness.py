"""How old an asset may get before the UI says so."""

from datetime import timedelta

import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from event_detection_pipeline.defs.freshness import longest_gap


@pytest.mark.parametrize(
    ("cron", "hours"), [("0 * * * *", 1), ("0 2 * * *", 24), ("0 3 * * 0", 168), ("0 9-17 * * *", 16)]
)
def test_a_schedule_s_longest_gap_is_what_an_asset_may_wait(cron: str, hours: int) -> None:
    assert longest_gap(cron, "UTC") == timedelta(hours=hours)


def test_the_hour_that_is_lost_in_spring_makes_no_asset_late() -> None:
    assert longest_gap("0 2 * * *", "Europe/Berlin") >= timedelta(hours=24)


def test_every_asset_made_here_has_a_policy_in_step_with_its_schedule() -> None:
    from event_detection_pipeline.definitions import defs

    hours = {}
    for spec in defs.resolve_all_asset_specs():
        if policy := spec.freshness_policy:
            assert isinstance(policy, TimeWindowFreshnessPolicy)
            assert policy.warn_window and policy.warn_window.to_timedelta() < policy.fail_window.to_timedelta()
            hours[spec.key.to_user_string()] = policy.fail_window.to_timedelta() / timedelta(hours=1)
    week = 7 * 24
    assert hours == {
        "training_clips": 72,
        "training_manifest": 72,
        "candidate_adapter": 3 * week,
        "adapter_evaluation": 3 * week,
        "promoted_adapter": 9 * week,
        "anomaly_flags": 3,
        "review_metrics": 3,
    }
