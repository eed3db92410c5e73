"""Which adapter a run is about: the one that it trained itself, whatever other runs train at the same time."""

import dagster as dg

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion

CANDIDATE = "candidate_adapter"
VERSION = "adapter"  # metadata of a materialization of CANDIDATE
PARENT_RUN = "dagster/parent_run_id"  # the tag by which a re-executed run names the one it repeats


def version_of_run(context: dg.AssetExecutionContext, store: AdapterStore, event: str) -> AdapterVersion:
    """The candidate that this run trained; for a re-executed run, the one of the run it repeats.

    Where neither trained one (an asset materialized by itself), the newest there is.

    Raises:
        NoSuchAdapter: none was ever trained.
    """
    partition = context.partition_key if context.has_partition_key else None
    run: dg.DagsterRun | None = context.run
    while run is not None:
        for record in context.instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records:
            made = record.asset_materialization
            if made and made.asset_key == dg.AssetKey(CANDIDATE) and made.partition == partition:
                return AdapterVersion.parse(str(made.metadata[VERSION].value))
        parent = run.tags.get(PARENT_RUN)
        run = context.instance.get_run_by_id(parent) if parent else None
    return store.newest(event)
