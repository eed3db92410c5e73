"""The jobs people run: export, retrain in three depths, judge, scan, and the whole loop."""

import dagster as dg

from event_detection_pipeline.config import load_settings
from event_detection_pipeline.defs.adapter_evaluation import adapter_evaluation
from event_detection_pipeline.defs.anomaly_flags import anomaly_flags
from event_detection_pipeline.defs.candidate_adapter import candidate_adapter
from event_detection_pipeline.defs.promoted_adapter import promoted_adapter
from event_detection_pipeline.defs.prune_history import prune_history
from event_detection_pipeline.defs.resources import SettingsResource
from event_detection_pipeline.defs.review_metrics import review_metrics
from event_detection_pipeline.defs.rollback import rollback_adapter
from event_detection_pipeline.defs.training_clips import training_clips
from event_detection_pipeline.defs.training_manifest import training_manifest

_AUTOMATION = load_settings().automation

_DATA = dg.AssetSelection.assets(training_clips, training_manifest)
# With the manifest's checks: what failed them last night must not train this morning.
_ADAPTER = dg.AssetSelection.assets(
    candidate_adapter, adapter_evaluation, promoted_adapter
) | dg.AssetSelection.checks_for_assets(training_manifest)
# With what people say of the flags: they retrain because they have answered some. It does not wait for the gate.
_RETRAINING = _ADAPTER | dg.AssetSelection.assets(review_metrics)
_FLAGS = dg.AssetSelection.assets(anomaly_flags, review_metrics)


def _at_most(hours: float) -> dict[str, str]:
    """The tag by which Dagster's run monitoring ends a run that hangs."""
    return {"dagster/max_runtime": str(round(hours * 3600))}


export_training_data = dg.define_asset_job(
    "export_training_data",
    _DATA,
    description="Stash to clips, clips to a manifest.",
    tags=_at_most(_AUTOMATION.export_max_hours),
)
retrain_adapter = dg.define_asset_job(
    "retrain_adapter",
    _RETRAINING,
    description="Manifest to a candidate adapter, its evaluation, and its promotion if it passes the gate; figures of "
    "the answers.",
    tags=_at_most(_AUTOMATION.retrain_max_hours),
)
retrain_quick = dg.define_asset_job(
    "retrain_quick",
    _RETRAINING,
    description=f"As retrain_adapter, in {_AUTOMATION.quick_epochs} epochs (automation.quick_epochs; another number in "
    "the Launchpad): is the new material worth a full training?",
    config=dg.RunConfig(resources={"settings": SettingsResource(epochs=_AUTOMATION.quick_epochs)}),
    tags=_at_most(_AUTOMATION.retrain_max_hours),
)
retrain_full = dg.define_asset_job(
    "retrain_full",
    _DATA | _RETRAINING,
    description="Export and retrain_adapter in one run: trains on what people said until now.",
    tags=_at_most(_AUTOMATION.export_max_hours + _AUTOMATION.retrain_max_hours),
)
evaluate_only = dg.define_asset_job(
    "evaluate_only",
    dg.AssetSelection.assets(adapter_evaluation),
    description="Judge the newest candidate again, beside what is promoted now. Trains and promotes nothing.",
    tags=_at_most(_AUTOMATION.retrain_max_hours),
)
scan_conversations = dg.define_asset_job(
    "scan_conversations",
    _FLAGS,
    description="Score and flag the conversations that nobody has answered; figures of the answers.",
    tags=_at_most(_AUTOMATION.scan_max_hours),
)
full_loop = dg.define_asset_job(
    "full_loop",
    _DATA | _ADAPTER | _FLAGS,
    description="Everything: export, retrain, promote, scan.",
    tags=_at_most(_AUTOMATION.export_max_hours + _AUTOMATION.retrain_max_hours + _AUTOMATION.scan_max_hours),
)

TRAINING_JOBS = tuple(job.name for job in (retrain_adapter, retrain_quick, retrain_full, full_loop))
SCANNING_JOBS = tuple(job.name for job in (scan_conversations, full_loop))

JOBS = [
    export_training_data,
    retrain_adapter,
    retrain_quick,
    retrain_full,
    evaluate_only,
    scan_conversations,
    full_loop,
    prune_history,
    rollback_adapter,
]
