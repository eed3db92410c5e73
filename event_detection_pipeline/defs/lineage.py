"""What an adapter was trained on, as Dagster's event log knows it, whoever started the training."""

import dagster as dg

from event_detection_pipeline.defs.events import partition_of

# On a materialization of training_clips: the newest sample that people had given before the export began.
NEWEST_SAMPLE = "newest sample"

# From a verdict back to the clips. A training is done when its candidate was judged, be it refused.
_VERDICT = "adapter_evaluation"
_INPUTS = ("candidate_adapter", "training_manifest", "training_clips")


def trained_lineage(instance: dg.DagsterInstance, event: str) -> list[dg.EventLogRecord]:
    """The materializations behind the last verdict on an adapter of an event: from the evaluation back to the clips.

    Shorter where the event log knows no more, and empty before the first verdict.
    """
    partitions = [partition] if (partition := partition_of(event)) else None
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(_VERDICT), asset_partitions=partitions), limit=1
    ).records
    lineage = list(found)
    for name in _INPUTS:
        if len(found) == 0 or (pointer := _input_pointer(found[0], name)) is None:
            break
        # The pointer is to the asset's newest materialization, of whichever event: this event's is that one or older.
        found = instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey(name), asset_partitions=partitions, before_storage_id=pointer + 1
            ),
            limit=1,
        ).records
        lineage.extend(found)
    return lineage


def trained_samples(instance: dg.DagsterInstance, event: str) -> str | None:
    """The newest sample that the last judged adapter was trained with ("" if there was none).

    None where that is not known: nothing was trained yet, or not on this Dagster instance.
    """
    lineage = trained_lineage(instance, event)
    if len(lineage) <= len(_INPUTS) or (clips := lineage[-1].asset_materialization) is None:
        return None
    newest = clips.metadata.get(NEWEST_SAMPLE)
    return str(newest.value) if newest else None


def _input_pointer(record: dg.EventLogRecord, name: str) -> int | None:
    assert record.asset_materialization is not None
    pointer = (record.asset_materialization.tags or {}).get(f"dagster/input_event_pointer/{name}", "")
    return int(pointer) if pointer.isdigit() else None
