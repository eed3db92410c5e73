"""Everything Dagster knows of this project, put together in this one place."""

import dagster as dg

from event_detection_pipeline.defs.adapter_evaluation import adapter_evaluation
from event_detection_pipeline.defs.anomaly_flags import anomaly_flags
from event_detection_pipeline.defs.candidate_adapter import candidate_adapter
from event_detection_pipeline.defs.cluster import between_steps, executor
from event_detection_pipeline.defs.freshness import keep_fresh
from event_detection_pipeline.defs.jobs import JOBS
from event_detection_pipeline.defs.manifest_checks import manifest_checks
from event_detection_pipeline.defs.promoted_adapter import promoted_adapter
from event_detection_pipeline.defs.resources import (
    AdapterStoreResource,
    ComputeResource,
    MongoResource,
    SettingsResource,
)
from event_detection_pipeline.defs.review_metrics import review_metrics
from event_detection_pipeline.defs.schedules import SCHEDULES
from event_detection_pipeline.defs.sensors import SENSORS
from event_detection_pipeline.defs.sources import chronicle, recordings
from event_detection_pipeline.defs.training_clips import training_clips
from event_detection_pipeline.defs.training_manifest import training_manifest

defs = dg.Definitions(
    assets=dg.map_asset_specs(
        keep_fresh,
        [
            chronicle,
            recordings,
            training_clips,
            training_manifest,
            candidate_adapter,
            adapter_evaluation,
            promoted_adapter,
            anomaly_flags,
            review_metrics,
        ],
    ),
    asset_checks=[manifest_checks],
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    executor=executor(),
    resources={
        "io_manager": between_steps(),
        "settings": SettingsResource(),
        "mongo": MongoResource(),
        "compute": ComputeResource(),
        "store": AdapterStoreResource(),
    },
)
