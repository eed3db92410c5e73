"""How good the flags are in people's ears: accepted, rejected and waiting, by adapter and by week. FPR is the share of
answered flags that were rejected, which a better adapter lowers; TPR of those accepted. The check warns when the
promoted adapter raises more false alarms than it used to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS
from event_detection_pipeline.defs.anomaly_flags import anomaly_flags
from event_detection_pipeline.defs.common import OWNERS, image, table
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource, SettingsResource

if TYPE_CHECKING:
    from event_detection_pipeline.review.metrics import ReviewMetrics


@dg.asset(
    description=__doc__,
    group_name="detection",
    kinds={"python", "mongodb"},
    owners=OWNERS,
    deps=[anomaly_flags, EVENT_REVIEWS],
    check_specs=[
        dg.AssetCheckSpec(
            "false_positive_rate_is_stable",
            asset="review_metrics",
            description="The promoted adapter's last flags were not rejected more often than chance allows.",
        )
    ],
)
def review_metrics(
    context: dg.AssetExecutionContext, mongo: MongoResource, settings: SettingsResource, store: AdapterStoreResource
) -> dg.MaterializeResult:
    from event_detection_pipeline.review.drift import answers_to, find_drift
    from event_detection_pipeline.review.metrics import leaderboard
    from event_detection_pipeline.review.metrics import review_metrics as measure
    from event_detection_pipeline.review.plots import false_positives_by_week
    from event_detection_pipeline.review.tables import write_tables

    values = settings.load()
    adapters = store.open()
    promoted = [str(version) for event in values.events if (version := adapters.promoted(event.name))]
    with mongo.for_step(context) as database:
        rows = measure(database, [event.name for event in values.events], values.evaluation.confidence)
        drifts = {name: find_drift(answers_to(database, name), values.review.drift_answers) for name in promoted}
    best_first = leaderboard(rows)
    parquet, csv = write_tables(rows, values.metrics_dir)
    return dg.MaterializeResult(
        metadata={
            "flags": sum(row.popups for row in best_first),
            "accepted": sum(row.accepted for row in best_first),
            "rejected": sum(row.rejected for row in best_first),
            "waiting": sum(row.pending for row in best_first),
            "longest wait (days)": max((row.oldest_pending_days or 0.0 for row in best_first), default=0.0),
            "leaderboard": table(_leaderboard(best_first, promoted)),
            "false positive rate by week": image(false_positives_by_week(rows)),
            "by week": table(_by_week(rows)),
            "parquet": dg.MetadataValue.path(parquet),
            "CSV": dg.MetadataValue.path(csv),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="false_positive_rate_is_stable",
                passed=not any(drift.drifted for drift in drifts.values()),
                severity=dg.AssetCheckSeverity.WARN,
                description="; ".join(f"{name}: {drift.reason}" for name, drift in drifts.items())
                or "no adapter is promoted",
            )
        ],
    )


def _leaderboard(best_first: Sequence["ReviewMetrics"], promoted: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "adapter": f"{row.adapter} (promoted)" if row.adapter in promoted else row.adapter,
            "answers": row.reviewed,
            "FPR": row.false_positive_rate,
            "TPR": row.true_positive_rate,
            "accuracy": row.accuracy,
            "waiting": row.pending,
        }
        for row in best_first
    ]


def _by_week(rows: Sequence["ReviewMetrics"]) -> list[dict[str, Any]]:
    return [
        {
            "week": row.week,
            "adapter": row.adapter,
            "flags": row.popups,
            "accepted": row.accepted,
            "rejected": row.rejected,
            "waiting": row.pending,
            "FPR": row.false_positive_rate,
        }
        for row in rows
        if row.week
    ]
