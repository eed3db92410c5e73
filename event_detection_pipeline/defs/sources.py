"""What Chronicle and its people write: collections that this project observes and does not make."""

import warnings
from collections.abc import Iterator

import dagster as dg

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, TRAINING_STASH
from event_detection_pipeline.defs.common import OWNERS
from event_detection_pipeline.defs.resources import MongoResource

# multi_observable_source_asset is beta; its single-asset sibling drops kinds and owners silently.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*multi_observable_source_asset.*")

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
    database = mongo.open()
    for key in context.selected_asset_keys:
        name = key.to_user_string()
        count = database[name].estimated_document_count()
        newest = database[name].find_one({}, {"_id": 1}, sort=[("_id", -1)])
        yield dg.ObserveResult(
            asset_key=key,
            data_version=dg.DataVersion(f"{count}-{newest['_id'] if newest else 'empty'}"),
            metadata={"documents": count},
        )
