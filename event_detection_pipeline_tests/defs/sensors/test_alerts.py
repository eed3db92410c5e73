"""What a person elsewhere hears of a run: its failed steps and checks, and nothing of a run that went well."""

import json
from collections.abc import Iterator

import dagster as dg
import pytest

from event_detection_pipeline.defs.resources import SettingsResource
from event_detection_pipeline.defs.sensors.alerts import failed_checks, failed_runs
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline_tests.defs.test_definitions import run_python
from event_detection_pipeline_tests.receiver import Receiver, receiving


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as received:
        monkeypatch.setenv("EVENT_DETECTION_AUTOMATION__WEBHOOK_URL", received.url)
        yield received


class StashIsEmpty(PipelineError):
    """What an asset raises."""


@dg.asset
def broken() -> None:
    try:
        raise StashIsEmpty("the stash is empty: swipe left")
    except StashIsEmpty as error:
        raise dg.Failure("export failed") from error


@dg.asset(check_specs=[dg.AssetCheckSpec("class_balance", asset="manifest")])
def manifest() -> dg.MaterializeResult:
    check = dg.AssetCheckResult(
        check_name="class_balance",
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description="30 others, 2 events",
    )
    return dg.MaterializeResult(check_results=[check])


@dg.asset(check_specs=[dg.AssetCheckSpec("class_balance", asset="good")])
def good() -> dg.MaterializeResult:
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="class_balance", passed=True)])


DEFINITIONS = dg.Definitions(
    assets=[broken, manifest, good],
    jobs=[
        dg.define_asset_job("export", [broken]),
        dg.define_asset_job("write", [manifest]),
        dg.define_asset_job("both", [broken, manifest]),
        dg.define_asset_job("well", [good]),
    ],
)


def run(job: str, sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> object:
    """Run a job, then what the daemon does when it sees how the run ended."""
    result = DEFINITIONS.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)
    status = dg.DagsterEventType.RUN_SUCCESS if result.success else dg.DagsterEventType.RUN_FAILURE
    (event,) = [event for event in result.all_events if event.event_type == status]
    context = dg.build_run_status_sensor_context(sensor.name, event, instance, result.dagster_run)
    if not result.success:
        context = context.for_run_failure()
    return sensor(context, settings=SettingsResource())


def told(receiver: Receiver) -> Iterator[tuple[str, str]]:
    for body in receiver.bodies:
        message = json.loads(body)
        yield message["title"], message["text"]


def test_a_failed_run_is_told_in_the_words_of_the_first_error(
    instance: dg.DagsterInstance,
    receiver: Receiver,
) -> None:
    run("export", failed_runs, instance)
    assert list(told(receiver)) == [("export failed", "broken: StashIsEmpty: the stash is empty: swipe left")]


def test_a_failed_run_tells_its_failed_checks_too(
    instance: dg.DagsterInstance,
    receiver: Receiver,
) -> None:
    run("both", failed_runs, instance)
    ((_, text),) = told(receiver)
    assert text.split("\n")[1] == "manifest, check class_balance: 30 others, 2 events"


def test_a_warning_of_a_run_that_succeeded_is_told(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    run("write", failed_checks, instance)
    assert list(told(receiver)) == [
        ("write: 1 check did not pass", "manifest, check class_balance: 30 others, 2 events")
    ]


def test_nothing_is_told_of_a_run_that_went_well(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    assert run("well", failed_checks, instance) is None, "anything else would end the tick before the next run"
    assert receiver.bodies == []


def test_alerts_are_on_only_where_there_is_somebody_to_tell() -> None:
    code = """
from event_detection_pipeline.defs.sensors import SENSORS
print([sensor.name for sensor in SENSORS if sensor.default_status.value == "RUNNING"])
"""
    assert run_python(code) == "[]"
    told = "['failed_runs', 'failed_checks']"
    assert run_python(code, EVENT_DETECTION_AUTOMATION__WEBHOOK_URL="http://127.0.0.1/topic") == told
