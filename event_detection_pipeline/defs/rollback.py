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
    move = store.open().rollback(config.event, by=f"run {context.run_id}", reason=config.reason)
    withdrawn = withdraw_flags(mongo.open(), str(move.previous)) if config.rescan else 0
    context.log.info(f"scans now use {move.promoted} instead of {move.previous}; {withdrawn} flags taken back")
    context.add_output_metadata(
        {"promoted": move.promoted, "withdrawn": str(move.previous), "flags taken back": withdrawn}
    )


@dg.job(description="Back to the adapter that was promoted before the current one, in one step.")
def rollback_adapter() -> None:
    go_back()
