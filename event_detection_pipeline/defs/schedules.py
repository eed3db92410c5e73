"""What cron did: the nightly export, the weekly retraining, the hourly scan; and the weekly pruning of Dagster's own
history. Off until turned on in the UI."""

import dagster as dg

from event_detection_pipeline.chronicle.database import ChronicleUnavailable
from event_detection_pipeline.chronicle.queries import count_samples
from event_detection_pipeline.clips.export import manifest_path
from event_detection_pipeline.config import load_settings
from event_detection_pipeline.defs.events import EVENT_NAMES, run_requests
from event_detection_pipeline.defs.jobs import export_training_data, retrain_adapter, scan_conversations
from event_detection_pipeline.defs.prune_history import prune_history
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource

NO_ADAPTER = "no adapter is promoted yet, so there is nothing to scan with"

_AUTOMATION = load_settings().automation
_MIN_SAMPLES = load_settings().min_samples


@dg.schedule(
    job=export_training_data,
    cron_schedule=_AUTOMATION.export_cron,
    execution_timezone=_AUTOMATION.timezone,
    description=f"Export when people have given at least {_MIN_SAMPLES} samples (min_samples), stashed or accepted.",
)
def nightly_export(context: dg.ScheduleEvaluationContext, mongo: MongoResource) -> dg.SkipReason | list[dg.RunRequest]:
    try:
        database = mongo.open()
        found = {event: count_samples(database, event) for event in EVENT_NAMES}
    except ChronicleUnavailable as error:
        return dg.SkipReason(str(error))
    enough = [event for event, samples in found.items() if samples >= _MIN_SAMPLES]
    if not enough:
        return dg.SkipReason(f"{max(found.values())} of the {_MIN_SAMPLES} samples that are needed (min_samples)")
    return list(run_requests(context.scheduled_execution_time.isoformat(), enough))


@dg.schedule(
    job=retrain_adapter,
    cron_schedule=_AUTOMATION.retrain_cron,
    execution_timezone=_AUTOMATION.timezone,
    description="Train on the newest manifest; the gate decides whether the new adapter is used.",
)
def weekly_retraining(context: dg.ScheduleEvaluationContext) -> dg.SkipReason | list[dg.RunRequest]:
    settings = load_settings()
    exported = [name for name in EVENT_NAMES if manifest_path(settings, settings.event(name)).is_file()]
    if not exported:
        return dg.SkipReason("there is no manifest to train on yet: the job export_training_data writes it")
    return list(run_requests(context.scheduled_execution_time.isoformat(), exported))


@dg.schedule(
    job=scan_conversations,
    cron_schedule=_AUTOMATION.scan_cron,
    execution_timezone=_AUTOMATION.timezone,
    description="Listen to what came in since the last scan; costs next to nothing when nothing did.",
)
def hourly_scan(context: dg.ScheduleEvaluationContext, store: AdapterStoreResource) -> dg.SkipReason | dg.RunRequest:
    if not any(store.open().promoted(event) for event in EVENT_NAMES):
        return dg.SkipReason(NO_ADAPTER)
    return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())


weekly_pruning = dg.ScheduleDefinition(
    name="weekly_pruning",
    job=prune_history,
    cron_schedule=_AUTOMATION.prune_cron,
    execution_timezone=_AUTOMATION.timezone,
    description="Forget runs older than automation.keep_history_days.",
)

SCHEDULES = [nightly_export, weekly_retraining, hourly_scan, weekly_pruning]
