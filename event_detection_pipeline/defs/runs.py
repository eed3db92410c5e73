"""Questions about runs: is one like it going on, and what became of the one that was asked for."""

from collections.abc import Collection

import dagster as dg

from event_detection_pipeline.defs.events import partition_of

_GOING_ON = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def run_in_progress(
    instance: dg.DagsterInstance, jobs: Collection[str], asset: str, event: str | None = None
) -> dg.DagsterRun | None:
    """A queued or running run that makes `asset` (for one event, or for any): of one of these jobs, or of a selection
    of assets made in the UI."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_GOING_ON)):
        makes = dg.AssetKey(asset) in run.asset_selection if run.asset_selection else run.job_name in jobs
        if makes and (event is None or run.tags.get("dagster/partition") == partition_of(event)):
            return run
    return None


def run_of_key(instance: dg.DagsterInstance, run_key: str) -> dg.DagsterRun | None:
    """The run that a sensor or schedule asked for under this key."""
    return next(iter(instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": run_key}), limit=1)), None)
