"""How old each asset may get, in step with the schedule that makes it anew. The UI shows it; no run waits for it."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import dagster as dg
from dagster._utils.schedules import cron_string_iterator

from event_detection_pipeline.config import load_settings

# Times the schedule's period. Two: one run was missed, or takes long. Three: two were.
WARN_PERIODS, FAIL_PERIODS = 2, 3
# A refused candidate leaves the promoted adapter as it was, and rightly so; two months of refusals are worth a look.
_PATIENCE = {"promoted_adapter": 3}

_AUTOMATION = load_settings().automation
_MADE_BY = {
    "training_clips": _AUTOMATION.export_cron,
    "training_manifest": _AUTOMATION.export_cron,
    "candidate_adapter": _AUTOMATION.retrain_cron,
    "adapter_evaluation": _AUTOMATION.retrain_cron,
    "promoted_adapter": _AUTOMATION.retrain_cron,
    "anomaly_flags": _AUTOMATION.scan_cron,
    "review_metrics": _AUTOMATION.scan_cron,
}


def longest_gap(cron: str, timezone: str) -> timedelta:
    """The longest time between two ticks of a cron schedule, among 200 of them: 9 to 17 o'clock is one of 16 hours."""
    ticks = cron_string_iterator(datetime(2026, 1, 1, tzinfo=UTC).timestamp(), cron, timezone)
    return max(after - before for before, after in pairwise(islice(ticks, 200)))


def keep_fresh(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The asset with its policy; what people and Chronicle give has none."""
    name = spec.key.to_user_string()
    if name not in _MADE_BY:
        return spec
    period = longest_gap(_MADE_BY[name], _AUTOMATION.timezone) * _PATIENCE.get(name, 1)
    policy = dg.FreshnessPolicy.time_window(fail_window=FAIL_PERIODS * period, warn_window=WARN_PERIODS * period)
    return spec.replace_attributes(freshness_policy=policy)
