"""The jobs people run: export, retrain, scan, and the whole loop."""

import dagster as dg

from event_detection_pipeline.defs.adapter_evaluation import adapter_evaluation
from event_detection_pipeline.defs.anomaly_flags import anomaly_flags
from event_detection_pipeline.defs.candidate_adapter import candidate_adapter
from event_detection_pipeline.defs.promoted_adapter import promoted_adapter
from event_detection_pipeline.defs.review_metrics import review_metrics
from event_detection_pipeline.defs.training_clips import training_clips
from event_detection_pipeline.defs.training_manifest import training_manifest

_DATA = dg.AssetSelection.assets(training_clips, training_manifest)
# With the manifest's checks: what failed them last night must not train this morning.
_ADAPTER = dg.AssetSelection.assets(
    candidate_adapter, adapter_evaluation, promoted_adapter
) | dg.AssetSelection.checks_for_assets(training_manifest)
_FLAGS = dg.AssetSelection.assets(anomaly_flags, review_metrics)

export_training_data = dg.define_asset_job(
    "export_training_data", _DATA, description="Stash to clips, clips to a manifest."
)
retrain_adapter = dg.define_asset_job(
    "retrain_adapter",
    _ADAPTER,
    description="Manifest to a candidate adapter, its evaluation, and its promotion if it passes the gate.",
)
scan_conversations = dg.define_asset_job(
    "scan_conversations",
    _FLAGS,
    description="Score and flag the conversations that nobody has answered; figures of the answers.",
)
full_loop = dg.define_asset_job(
    "full_loop", _DATA | _ADAPTER | _FLAGS, description="Everything: export, retrain, promote, scan."
)

JOBS = [export_training_data, retrain_adapter, scan_conversations, full_loop]
