"""Events as partitions. A household with one event never meets the word: its assets are not partitioned."""

from collections.abc import Sequence

import dagster as dg

from event_detection_pipeline.config import EventSettings, Settings, load_settings

EVENT_NAMES = tuple(event.name for event in load_settings().events)
EVENT_PARTITIONS = dg.StaticPartitionsDefinition(list(EVENT_NAMES)) if len(EVENT_NAMES) > 1 else None


def event_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, settings: Settings) -> EventSettings:
    """The event a run is for: its partition, or the only one there is."""
    return settings.event(context.partition_key) if context.has_partition_key else settings.events[0]


def partition_of(event: str) -> str | None:
    """The partition that holds an event, None where there are none."""
    return event if EVENT_PARTITIONS else None


def run_requests(run_key: str, events: Sequence[str] = EVENT_NAMES) -> Sequence[dg.RunRequest]:
    """One request for each event; Dagster runs each key once."""
    return [dg.RunRequest(run_key=f"{run_key}-{name}", partition_key=partition_of(name)) for name in events]
