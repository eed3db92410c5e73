"""What failed is told to the webhook: runs, and checks. On as soon as automation.webhook_url is set."""

import re
from collections.abc import Iterator

import dagster as dg

from event_detection_pipeline.config import load_settings
from event_detection_pipeline.defs.resources import SettingsResource
from event_detection_pipeline.webhook import Message, post

INTERVAL_SECONDS = 60
_STATUS = dg.DefaultSensorStatus.RUNNING if load_settings().automation.webhook_url else dg.DefaultSensorStatus.STOPPED


@dg.run_failure_sensor(
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=_STATUS,
    description="Tells the webhook of each run that failed: what its steps and checks said.",
)
def failed_runs(context: dg.RunFailureSensorContext, settings: SettingsResource) -> None:
    run = context.dagster_run
    said = [f"{event.step_key}: {_cause(event)}" for event in context.get_step_failure_events()]
    text = "\n".join((*said, *_failed_checks(context.instance, run.run_id)))
    title = f"{run.job_name} failed"
    post(Message(title, text or context.failure_event.message or title, run.job_name, run.run_id), settings.load())


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=_STATUS,
    description="Tells the webhook of checks that warn in a run that succeeded (those of a failed run go with it).",
)
def failed_checks(context: dg.RunStatusSensorContext, settings: SettingsResource) -> None:
    run = context.dagster_run
    failed = list(_failed_checks(context.instance, run.run_id))
    if not failed:
        return  # a SkipReason would end the tick, and the next run wait for another
    title = f"{run.job_name}: {len(failed)} {'check' if len(failed) == 1 else 'checks'} did not pass"
    post(Message(title, "\n".join(failed), run.job_name, run.run_id), settings.load())


def _failed_checks(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    of_run = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    for record in of_run.records:
        assert record.event_log_entry.dagster_event is not None
        check = record.event_log_entry.dagster_event.asset_check_evaluation_data
        if not check.passed:
            yield f"{check.asset_key.to_user_string()}, check {check.check_name}: {check.description or 'failed'}"


def _cause(event: dg.DagsterEvent) -> str:
    """What happened first, in the words of the error itself: Dagster's own errors are wrapped around it."""
    error = event.step_failure_data.error
    if error is None:
        return event.message or "no reason is known"
    while error.cause:
        error = error.cause
    return re.sub(r"^(\w+\.)+", "", error.message.strip())
