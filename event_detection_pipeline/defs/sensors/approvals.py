"""An approval continues what waited for it: the candidate is promoted. No run waits meanwhile."""

import dagster as dg

from event_detection_pipeline.adapters.promotion import Decision, decide
from event_detection_pipeline.adapters.store import NoSuchAdapter
from event_detection_pipeline.config import load_settings
from event_detection_pipeline.defs.events import EVENT_NAMES, partition_of
from event_detection_pipeline.defs.promoted_adapter import promoted_adapter
from event_detection_pipeline.defs.resources import AdapterStoreResource

INTERVAL_SECONDS = 30


def run_key(decision: Decision) -> str | None:
    """The key of the run that an approval asks for, None where there is nothing to run. One approval is one run: where
    that fails, another approval of the same adapter starts another."""
    if decision.state != "promote" or decision.approval is None:
        return None
    return f"approval-{decision.version}-{decision.approval.at}"


@dg.sensor(
    target=[promoted_adapter],
    minimum_interval_seconds=INTERVAL_SECONDS,
    description="Promotes a candidate when a person has approved it (adapters.require_approval).",
)
def approvals(context: dg.SensorEvaluationContext, store: AdapterStoreResource) -> dg.SkipReason | list[dg.RunRequest]:
    settings = load_settings()
    if not settings.adapters.require_approval:
        return dg.SkipReason("adapters.require_approval is off: what passes the gate is promoted in its own run")
    requests, reasons = [], []
    for event in EVENT_NAMES:
        try:
            decision = decide(store.open(), settings, event)
        except NoSuchAdapter as error:
            reasons.append(str(error))
            continue
        reasons.append(f"{decision.version}: {decision.reason}")
        if key := run_key(decision):
            requests.append(dg.RunRequest(run_key=key, partition_key=partition_of(event)))
    return requests or dg.SkipReason("; ".join(reasons))
