"""How good the flags are in people's ears: accepted, rejected and waiting, by adapter and by week. A rejected flag is
a false positive; its share of all reviewed flags is what a better adapter lowers."""

import dagster as dg

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS
from event_detection_pipeline.defs.anomaly_flags import anomaly_flags
from event_detection_pipeline.defs.common import OWNERS, table
from event_detection_pipeline.defs.resources import MongoResource, SettingsResource


@dg.asset(
    description=__doc__,
    group_name="detection",
    kinds={"python", "mongodb"},
    owners=OWNERS,
    deps=[anomaly_flags, EVENT_REVIEWS],
)
def review_metrics(mongo: MongoResource, settings: SettingsResource) -> dg.MaterializeResult:
    from event_detection_pipeline.review.metrics import review_metrics as measure

    rows = measure(mongo.open(), settings.load().evaluation.confidence)
    totals = [row for row in rows if row.week is None]
    return dg.MaterializeResult(
        metadata={
            "flags": sum(row.popups for row in totals),
            "accepted": sum(row.accepted for row in totals),
            "rejected": sum(row.rejected for row in totals),
            "waiting": sum(row.pending for row in totals),
            "by adapter and week": table(
                [
                    {
                        "event": row.event,
                        "adapter": row.adapter,
                        "week": row.week or "all",
                        "flags": row.popups,
                        "accepted": row.accepted,
                        "rejected": row.rejected,
                        "waiting": row.pending,
                        "false positive rate": row.false_positive_rate,
                        "true positive rate": row.true_positive_rate,
                        "longest wait (days)": row.oldest_pending_days or 0.0,
                    }
                    for row in rows
                ]
            ),
        }
    )
