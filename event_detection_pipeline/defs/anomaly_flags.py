"""Flags on conversations that nobody has answered: every promoted adapter scores each in one pass over its audio.
Scores are kept in `event_scans`, flags shown in Chronicle; a person's answer is never overwritten."""

import dagster as dg

from event_detection_pipeline.chronicle.database import CONVERSATIONS
from event_detection_pipeline.defs.common import EXAMPLES, GPU_POOL, OWNERS, table
from event_detection_pipeline.defs.promoted_adapter import promoted_adapter
from event_detection_pipeline.defs.resources import (
    AdapterStoreResource,
    ComputeResource,
    MongoResource,
    SettingsResource,
)


@dg.asset(
    description=__doc__,
    group_name="detection",
    kinds={"python", "pytorch", "mongodb"},
    owners=OWNERS,
    deps=[promoted_adapter, CONVERSATIONS],
    pool=GPU_POOL,
)
def anomaly_flags(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    mongo: MongoResource,
    compute: ComputeResource,
    store: AdapterStoreResource,
) -> dg.MaterializeResult:
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.scan.scan import scan

    values = settings.load()
    adapters = store.open()
    folders = adapters.promoted_folders(values.events)
    detectors = load_detectors(folders, compute.choose())
    report = scan(mongo.open(), detectors, values.scan, values.clips, limit=values.scan.limit)
    return dg.MaterializeResult(
        metadata={
            "scanned": report.scanned,
            "flagged": report.flagged,
            "answered or deleted meanwhile": report.kept_back,
            "without a score": sum(report.problems.values()),
            "reasons": table([{"reason": k, "versions": v} for k, v in report.problems.items()]),
            "adapters": ", ".join(folder.name for folder in folders),
            "examples": table(
                [
                    {
                        "conversation": one.conversation_id,
                        "event": one.event,
                        "score": round(one.score or 0.0, 3),
                        "threshold": round(one.threshold, 3),
                        "at (s)": "unknown" if one.time is None else one.time,
                    }
                    for one in report.examples[:EXAMPLES]
                ]
            ),
        }
    )
