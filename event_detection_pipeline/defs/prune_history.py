"""The job that forgets old runs: nothing else ever makes Dagster's event log smaller.

Deleting a run deletes its events, and with them the materializations it made. Runs that an asset's page or the stash
sensor still needs stay, however old: those of each asset's latest materialization, and the lineage of the adapter that
was judged last.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster import DagsterRunStatus

from event_detection_pipeline.defs.events import EVENT_NAMES, partition_of
from event_detection_pipeline.defs.lineage import trained_lineage
from event_detection_pipeline.defs.resources import SettingsResource

_FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]


def prune(instance: dg.DagsterInstance, before: datetime) -> tuple[int, int]:
    """Delete the finished runs created before a time, with their logs.

    Returns:
        How many were deleted, and how many as old were kept because something still refers to them.
    """
    old = [run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=_FINISHED, created_before=before))]
    needed = set(_needed(instance))
    for run_id in old:
        if run_id not in needed:
            instance.delete_run(run_id)
            _delete_files(instance, run_id)
    kept = len(needed.intersection(old))
    return len(old) - kept, kept


@dg.op(description="Deletes what is older than automation.keep_history_days.")
def delete_old_runs(context: dg.OpExecutionContext, settings: SettingsResource) -> None:
    days = settings.load().automation.keep_history_days
    deleted, kept = prune(context.instance, datetime.now(UTC) - timedelta(days=days))
    context.log.info(f"{deleted} runs older than {days} days deleted; {kept} as old are still referred to")
    context.add_output_metadata({"deleted runs": deleted, "old runs still referred to": kept})


@dg.job(
    description="Forget runs and their event logs after automation.keep_history_days, but never what the asset pages "
    "show last."
)
def prune_history() -> None:
    delete_old_runs()


def _needed(instance: dg.DagsterInstance) -> Iterator[str]:
    for event in EVENT_NAMES:
        yield from (record.run_id for record in trained_lineage(instance, event))
        partitions = [partition] if (partition := partition_of(event)) else None
        for key in instance.all_asset_keys():
            of_event = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions)
            for one in (key, of_event):
                yield from (record.run_id for record in instance.fetch_materializations(one, limit=1).records)
            yield from (record.run_id for record in instance.fetch_observations(key, limit=1).records)


def _delete_files(instance: dg.DagsterInstance, run_id: str) -> None:
    """What `delete_run` leaves on disk: the output of the run's steps, and with SQLite the emptied file of its log."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    path_of_log = getattr(instance.event_log_storage, "path_for_shard", None)
    if path_of_log:
        file = Path(path_of_log(run_id))
        for leftover in file.parent.glob(f"{file.name}*"):
            leftover.unlink()
