"""Clips cut from the conversations that people put aside: 16 kHz mono WAV files of at most 30 s with exactly the words
spoken in them. What cannot be used is set aside with a reason, and counted; nothing stops the rest."""

import dagster as dg

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS, TRAINING_STASH
from event_detection_pipeline.chronicle.queries import newest_sample
from event_detection_pipeline.clips.export import export_clips
from event_detection_pipeline.defs.common import EXAMPLES, OWNERS, table
from event_detection_pipeline.defs.events import EVENT_PARTITIONS, event_of
from event_detection_pipeline.defs.lineage import NEWEST_SAMPLE
from event_detection_pipeline.defs.resources import MongoResource, SettingsResource
from event_detection_pipeline.defs.sources import EVENT_RECORDINGS
from event_detection_pipeline.progress import log_progress


@dg.asset(
    description=__doc__,
    group_name="training",
    kinds={"python", "mongodb"},
    owners=OWNERS,
    deps=[TRAINING_STASH, EVENT_REVIEWS, EVENT_RECORDINGS],
    partitions_def=EVENT_PARTITIONS,
)
def training_clips(
    context: dg.AssetExecutionContext, mongo: MongoResource, settings: SettingsResource
) -> dg.MaterializeResult:
    values = settings.load()
    event = event_of(context, values)
    with mongo.for_step(context) as database:
        newest = newest_sample(database)
        report = export_clips(database, values, event, log_progress(context.log, "stash entries"))
    seconds = sum(clip.duration for clip in report.clips)
    return dg.MaterializeResult(
        metadata={
            "clips": len(report.clips),
            "with the event": sum(clip.contains_event for clip in report.clips),
            "audio (h)": round(seconds / 3600, 2),
            "made in this run": report.made,
            NEWEST_SAMPLE: newest,
            "set aside": len(report.rejects),
            "set aside by reason": table(
                [
                    {"reason": reason.replace("_", " "), "entries": count}
                    for reason, count in report.rejects_by_reason.items()
                ]
            ),
            "reasons in full": dg.MetadataValue.path(report.rejects_path),
            "folder": dg.MetadataValue.path(values.audio_dir),
            "examples": table(
                [
                    {"event": clip.contains_event, "length (s)": round(clip.duration, 1)}
                    for clip in report.clips[:EXAMPLES]
                ]
            ),
        }
    )
