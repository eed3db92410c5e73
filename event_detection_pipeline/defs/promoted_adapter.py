"""The adapter that scans use: `<event>_latest` moves to the candidate (the one that this run trained, else the newest),
atomically, if its evaluation passed the gate, and with `adapters.require_approval` if a person approved it. Both are
read again here, so that materializing by hand cannot slip a candidate through."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from event_detection_pipeline.adapters.promotion import Decision, Ledger, decide, decide_on
from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.defs.adapter_evaluation import adapter_evaluation
from event_detection_pipeline.defs.common import EXAMPLES, OWNERS, table
from event_detection_pipeline.defs.events import EVENT_PARTITIONS, event_of
from event_detection_pipeline.defs.resources import AdapterStoreResource, SettingsResource
from event_detection_pipeline.defs.versions import version_of_run


@dg.asset(
    description=__doc__,
    group_name="adapters",
    kinds={"python"},
    owners=OWNERS,
    deps=[adapter_evaluation],
    partitions_def=EVENT_PARTITIONS,
    # A first candidate that waits for approval is no failure: what comes after it is skipped.
    output_required=False,
)
def promoted_adapter(
    context: dg.AssetExecutionContext, settings: SettingsResource, store: AdapterStoreResource
) -> Iterator[dg.AssetObservation | dg.MaterializeResult]:
    values = settings.load()
    event = event_of(context, values)
    adapters = store.open()
    if values.adapters.require_approval:  # whichever was approved, whoever trained it
        decision = decide(adapters, values, event.name)
    else:
        ledger = Ledger.read(adapters, event.name)
        decision = decide_on(ledger, values, version_of_run(context, adapters, event.name))
    context.log.info(decision.reason)
    if decision.state == "refused":
        raise dg.Failure(decision.reason, allow_retries=False)
    if decision.state in ("promote", "promoted"):
        adapters.promote(decision.version, by=f"run {context.run_id}", reason=decision.reason)
    promoted = adapters.promoted(event.name)
    metadata = _metadata(adapters, event.name, decision)
    if promoted is None:
        partition = context.partition_key if context.has_partition_key else None
        yield dg.AssetObservation(context.asset_key, metadata=metadata, partition=partition)
    else:
        yield dg.MaterializeResult(data_version=dg.DataVersion(str(promoted)), metadata=metadata)


def _metadata(adapters: AdapterStore, event: str, decision: Decision) -> dict[str, Any]:
    promoted = adapters.promoted(event)
    metadata: dict[str, Any] = {"promoted": str(promoted or "none yet")}
    if decision.state in ("waiting", "withdrawn"):
        metadata["candidate"] = f"{decision.version} ({decision.state})"
    metadata["reason"] = decision.reason
    if decision.state == "waiting":
        metadata["how to approve"] = (
            f"the Adapters tab of the review page, or `event-detection adapters promote {decision.version} --approve`"
        )
    if promoted:
        metadata["folder"] = dg.MetadataValue.path(adapters.path(promoted))
        metadata["history"] = table(
            [
                {
                    "when (UTC)": one.at[:16].replace("T", " "),
                    "from": one.previous or "none",
                    "to": one.promoted,
                    "who": one.by,
                    "why": one.reason,
                }
                for one in adapters.promotions(event)[-EXAMPLES:]
            ]
        )
    return metadata
