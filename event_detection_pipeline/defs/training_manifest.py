"""The manifest: one line of JSON for each clip, split by conversation for ever, and the same bytes whenever nothing
changed. Its SHA-256 is the asset's data version."""

from dataclasses import asdict

import dagster as dg

from event_detection_pipeline.clips.export import write_training_manifest
from event_detection_pipeline.defs.common import EXAMPLES, OWNERS, table
from event_detection_pipeline.defs.events import EVENT_PARTITIONS, event_of
from event_detection_pipeline.defs.resources import SettingsResource
from event_detection_pipeline.defs.training_clips import training_clips


@dg.asset(
    description=__doc__,
    group_name="training",
    kinds={"python", "json"},
    owners=OWNERS,
    deps=[training_clips],
    partitions_def=EVENT_PARTITIONS,
)
def training_manifest(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult:
    values = settings.load()
    report = write_training_manifest(values, event_of(context, values))
    rows = [
        {
            "split": split,
            "clips": sum(clip.split == split for clip in report.clips),
            "with the event": sum(clip.split == split and clip.contains_event for clip in report.clips),
        }
        for split in ("train", "validation", "test")
    ]
    changes = [
        {"source": source.replace("_", " "), "change": change, "clips": count}
        for change, counts in asdict(report.changes).items()
        for source, count in counts.items()
    ]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(report.digest),
        metadata={
            "clips": len(report.clips),
            "splits": table(rows),
            "changed since the last one": table(changes),
            "manifest": dg.MetadataValue.path(report.path),
            "SHA-256": report.digest,
            "examples": table(
                [
                    {
                        "split": clip.split,
                        "event": clip.contains_event,
                        "length (s)": round(clip.duration, 1),
                    }
                    for clip in report.clips[:EXAMPLES]
                ]
            ),
        },
    )
