"""The adapter that scans use: `<event>_latest` moves to the newest candidate, atomically, if its evaluation passed the
gate. The verdict is read again here, so that materializing by hand cannot slip a failed candidate through."""

import dagster as dg

from event_detection_pipeline.defs.adapter_evaluation import adapter_evaluation
from event_detection_pipeline.defs.common import EXAMPLES, OWNERS, table
from event_detection_pipeline.defs.events import EVENT_PARTITIONS, event_of
from event_detection_pipeline.defs.resources import AdapterStoreResource, SettingsResource


@dg.asset(
    description=__doc__,
    group_name="adapters",
    kinds={"python"},
    owners=OWNERS,
    deps=[adapter_evaluation],
    partitions_def=EVENT_PARTITIONS,
)
def promoted_adapter(
    context: dg.AssetExecutionContext, settings: SettingsResource, store: AdapterStoreResource
) -> dg.MaterializeResult:
    from event_detection_pipeline.adapters.verdict import evaluation_path, read_verdict

    values = settings.load()
    event = event_of(context, values)
    adapters = store.open()
    version = adapters.newest(event.name)
    verdict = read_verdict(evaluation_path(values.evaluation_dir, version))
    if verdict is None:
        raise dg.Failure(f"{version} has not been evaluated: materialize adapter_evaluation first", allow_retries=False)
    if not verdict.passed:
        raise dg.Failure(f"{version} did not pass the gate: {verdict.reason}", allow_retries=False)
    if adapters.promoted(event.name) != version:
        adapters.promote(version, by=f"run {context.run_id}", reason=verdict.reason)
    history = adapters.promotions(event.name)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(str(version)),
        metadata={
            "promoted": str(version),
            "reason": verdict.reason,
            "folder": dg.MetadataValue.path(adapters.path(version)),
            "history": table(
                [
                    {"when": one.at, "from": one.previous or "none", "to": one.promoted, "why": one.reason}
                    for one in history[-EXAMPLES:]
                ]
            ),
        },
    )
