"""Run a job of this project here and now, on the instance of $DAGSTER_HOME, where the UI shows it afterwards."""

import logging

import dagster as dg

from event_detection_pipeline.errors import PipelineError


class JobFailed(PipelineError):
    """A job did not succeed; the message holds the first error of each failed step."""


def run_job(name: str) -> None:
    """Run a job in this process.

    Raises:
        JobFailed: with what the failed steps said.
    """
    from event_detection_pipeline.definitions import defs

    for handler in logging.getLogger().handlers:
        handler.setFormatter(_MessageOnly())
    # Dagster's own console log repeats every event; the package's progress lines say what a person needs.
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job = defs.resolve_job_def(name)
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance, run_config={**(job.run_config or {}), **quiet}, raise_on_error=False
        )
    if not result.success:
        failures = [
            event.step_failure_data.error_display_string.strip()
            for event in result.get_step_failure_events()
            if event.step_failure_data
        ]
        raise JobFailed(f"job {name} failed: {'; '.join(failures) or 'see its run in the Dagster UI'}")


class _MessageOnly(logging.Formatter):
    """The package's progress lines as they were written, without the run and step that Dagster puts before them."""

    def format(self, record: logging.LogRecord) -> str:
        return getattr(record, "dagster_meta", {}).get("orig_message") or super().format(record)
