"""What people and Chronicle give: collections and recordings that this project observes and does not make."""

import hashlib
import warnings
from collections.abc import Iterator

import dagster as dg

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, TRAINING_STASH
from event_detection_pipeline.chronicle.queries import newest_id
from event_detection_pipeline.clips.recordings import list_recordings
from event_detection_pipeline.defs.common import OWNERS
from event_detection_pipeline.defs.resources import MongoResource, SettingsResource

# multi_observable_source_asset is beta; its single-asset sibling drops kinds and owners silently.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*multi_observable_source_asset.*")

EVENT_RECORDINGS = "event_recordings"

_SPECS = {
    TRAINING_STASH: "Transcripts that a person set aside for training, by rejecting a flag.",
    EVENT_REVIEWS: "Every answer of a person to a flag: who, when, accepted or rejected.",
    CONVERSATIONS: "Chronicle's conversations with their transcript versions; new ones are what a scan looks for.",
}


@dg.multi_observable_source_asset(
    specs=[
        dg.AssetSpec(name, description=text, group_name="chronicle", kinds={"mongodb"}, owners=OWNERS)
        for name, text in _SPECS.items()
    ],
    can_subset=True,
)
def chronicle(context: dg.AssetExecutionContext, mongo: MongoResource) -> Iterator[dg.ObserveResult]:
    """Count the documents of each collection and note the newest: together they are its data version."""
    with mongo.for_step(context) as database:
        for key in context.selected_asset_keys:
            name = key.to_user_string()
            count = database[name].estimated_document_count()
            yield dg.ObserveResult(
                asset_key=key,
                data_version=dg.DataVersion(f"{count}-{newest_id(database, name) or 'empty'}"),
                metadata={"documents": count},
            )


@dg.multi_observable_source_asset(
    specs=[
        dg.AssetSpec(
            EVENT_RECORDINGS,
            description="Recordings of events and other sounds, given with `event-detection bootstrap` or `feedback`.",
            group_name="training",
            kinds={"file"},
            owners=OWNERS,
        )
    ]
)
def recordings(settings: SettingsResource) -> dg.ObserveResult:
    """Count the recordings of all events; which there are, and what they were said to hold, is the data version."""
    values = settings.load()
    given = [
        f"{event.name} {one.recording} {one.contains_event}"
        for event in values.events
        for one in list_recordings(values, event)
    ]
    return dg.ObserveResult(
        asset_key=EVENT_RECORDINGS,
        data_version=dg.DataVersion(hashlib.sha256("\n".join(sorted(given)).encode()).hexdigest()),
        metadata={"recordings": len(given)},
    )
