"""The job that goes back: scans use the adapter that was promoted before the current one, from the next scan on."""

import dagster as dg
from pydantic import Field

from event_detection_pipeline.defs.events import EVENT_NAMES
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource
from event_detection_pipeline.scan.withdraw import withdraw_flags


class Rollback(dg.Config):
    """What to take back, and why."""

    event: str = Field(default=EVENT_NAMES[0], description="Name of the event.")
    reason: str = Field(default="rolled back in the UI", description="Kept in the history of promotions.")
    rescan: bool = Field(
        default=False, description="Also take its unanswered flags back; the next scan decides on them anew."
    )


@dg.op(description="Promotes what was promoted before, and takes back the flags that nobody answered.")
def go_back(
    context: dg.OpExecutionContext, config: Rollback, store: AdapterStoreResource, mongo: MongoResource
) -> None:
    # A run that is tried again after it moved the pointer finishes what it began, and goes no further step back.
    first_run = context.run.tags.get("dagster/root_run_id", context.run_id)
    by = f"run {first_run}"
    adapters = store.open()
    moves = adapters.promotions(config.event)
    move = moves[-1] if moves and moves[-1].by == by else adapters.rollback(config.event, by=by, reason=config.reason)
    withdrawn = 0
    if config.rescan:
        with mongo.for_step(context) as database:
            withdrawn = withdraw_flags(database, str(move.previous))
    context.log.info(f"scans now use {move.promoted} instead of {move.previous}; {withdrawn} flags taken back")
    context.add_output_metadata(
        {"promoted": move.promoted, "withdrawn": str(move.previous), "flags taken back": withdrawn}
    )


@dg.job(description="Back to the adapter that was promoted before the current one, in one step.")
def rollback_adapter() -> None:
    go_back()
