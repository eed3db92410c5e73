"""What watches: retraining starts when people have stashed enough since the last time."""

from dataclasses import dataclass

import dagster as dg

from event_detection_pipeline.chronicle.database import ChronicleUnavailable
from event_detection_pipeline.chronicle.queries import count_stash
from event_detection_pipeline.config import load_settings
from event_detection_pipeline.defs.events import run_requests
from event_detection_pipeline.defs.jobs import full_loop
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource

INTERVAL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class StashDecision:
    """What a look at the stash leads to. `trained_size` is the new cursor."""

    retrain: bool
    trained_size: int
    reason: str


def decide(stash_size: int, trained_size: int, wanted: int) -> StashDecision:
    """Retrain when the stash has grown by `wanted` samples since it was last trained on.

    A stash that shrank (someone cleaned it up) is the new starting point: what is added from here on counts.
    """
    grown = stash_size - trained_size
    if grown < 0:
        return StashDecision(False, stash_size, f"the stash shrank from {trained_size} to {stash_size} samples")
    if grown < wanted:
        return StashDecision(False, trained_size, f"{grown} new samples since the last training, {wanted} start one")
    return StashDecision(True, stash_size, f"{grown} new samples since the last training")


@dg.sensor(
    job=full_loop,
    minimum_interval_seconds=INTERVAL_SECONDS,
    description="Runs the whole loop when the stash has grown by automation.retrain_after_new_samples samples.",
)
def stash_growth(
    context: dg.SensorEvaluationContext, mongo: MongoResource, store: AdapterStoreResource
) -> dg.SkipReason | dg.SensorResult:
    try:
        size = count_stash(mongo.open())
    except ChronicleUnavailable as error:
        return dg.SkipReason(str(error))
    settings = load_settings()
    if context.cursor is None and any(store.open().versions(event.name) for event in settings.events):
        # Turned on where an adapter exists already: what is in the stash now was there to train on.
        return dg.SensorResult(skip_reason=f"counting from the {size} samples there are", cursor=str(size))
    decision = decide(size, int(context.cursor or 0), settings.automation.retrain_after_new_samples)
    if not decision.retrain:
        return dg.SensorResult(skip_reason=decision.reason, cursor=str(decision.trained_size))
    # Cursor and request are one result: the cursor moves only with the run. Two growths to the same size, with a
    # clean-up between them, are two runs: the key holds where it grew from, too.
    return dg.SensorResult(
        run_requests=run_requests(f"stash-{context.cursor or 0}-{size}"), cursor=str(decision.trained_size)
    )


SENSORS = [stash_growth]
