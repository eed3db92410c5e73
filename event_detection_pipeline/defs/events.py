"""Events as partitions. A household with one event never meets the word: its assets are not partitioned."""

from collections.abc import Sequence

import dagster as dg

from event_detection_pipeline.config import EventSettings, Settings, load_settings

_NAMES = [event.name for event in load_settings().events]

EVENT_PARTITIONS = dg.StaticPartitionsDefinition(_NAMES) if len(_NAMES) > 1 else None


def event_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, settings: Settings) -> EventSettings:
    """The event a run is for: its partition, or the only one there is."""
    return settings.event(context.partition_key) if context.has_partition_key else settings.events[0]


def run_requests(run_key: str) -> Sequence[dg.RunRequest]:
    """One request for each event; Dagster runs each key once."""
    if EVENT_PARTITIONS is None:
        return [dg.RunRequest(run_key=run_key)]
    return [dg.RunRequest(run_key=f"{run_key}-{name}", partition_key=name) for name in _NAMES]
