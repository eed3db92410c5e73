"""Runs that train at the same time: each is about its own candidate."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from event_detection_pipeline.adapters.store import AdapterStore, NoSuchAdapter
from event_detection_pipeline.config import CONFIG_ENV, Settings, load_settings
from event_detection_pipeline.defs.promoted_adapter import promoted_adapter
from event_detection_pipeline.defs.resources import AdapterStoreResource, SettingsResource
from event_detection_pipeline.defs.versions import CANDIDATE, PARENT_RUN, VERSION, version_of_run
from event_detection_pipeline_tests.adapters.stored import add_adapter

EVENT = "event"
RESOURCES = {"settings": SettingsResource(), "store": AdapterStoreResource()}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    file = tmp_path / "event_detection.toml"
    file.write_text(f'data_dir = "{(tmp_path / "data").as_posix()}"\n')
    monkeypatch.setenv(CONFIG_ENV, str(file))
    return load_settings()


@dg.asset(name="adapter_evaluation", deps=[CANDIDATE])
def judged(context: dg.AssetExecutionContext, store: AdapterStoreResource) -> dg.MaterializeResult:
    """Stands where the evaluation does, and says which adapter it would judge."""
    return dg.MaterializeResult(metadata={"judged": str(version_of_run(context, store.open(), EVENT))})


def candidate(settings: Settings, *, passed: bool, meanwhile: Any = lambda: None) -> dg.AssetsDefinition:
    """A training that takes no time, but for what happens meanwhile."""

    @dg.asset(name=CANDIDATE)
    def candidate_adapter() -> dg.MaterializeResult:
        version = add_adapter(settings, EVENT, passed=passed)
        meanwhile()
        return dg.MaterializeResult(metadata={VERSION: str(version)})

    return candidate_adapter


def run(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize(list(assets), instance=instance, resources=RESOURCES, raise_on_error=False)


def judged_by(result: dg.ExecuteInProcessResult) -> Any:
    (made,) = result.asset_materializations_for_node("adapter_evaluation")
    return made.metadata["judged"].value


def test_each_of_two_trainings_at_once_judges_and_promotes_its_own(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    inner: list[dg.ExecuteInProcessResult] = []

    def another_run() -> None:
        inner.append(run(instance, candidate(settings, passed=False), judged, promoted_adapter))

    outer = run(instance, candidate(settings, passed=True, meanwhile=another_run), judged, promoted_adapter)
    assert (judged_by(outer), judged_by(inner[0])) == ("event_v1", "event_v2")
    assert outer.success
    assert not inner[0].success, "the failed one of the two was promoted with the other's verdict"
    assert str(AdapterStore(settings.adapter_dir).promoted(EVENT)) == "event_v1"


def test_a_repeated_run_goes_on_with_the_candidate_of_the_run_it_repeats(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    first = run(instance, candidate(settings, passed=True))
    add_adapter(settings, EVENT)
    job = dg.Definitions(assets=[judged], resources=RESOURCES).resolve_implicit_global_asset_job_def()
    repeated = job.execute_in_process(instance=instance, tags={PARENT_RUN: first.run_id})
    assert judged_by(repeated) == "event_v1"


def test_an_evaluation_by_itself_is_about_the_newest(settings: Settings, instance: dg.DagsterInstance) -> None:
    run(instance, candidate(settings, passed=True))
    add_adapter(settings, EVENT)
    assert judged_by(run(instance, judged)) == "event_v2"


def test_without_any_adapter_there_is_nothing_to_judge(settings: Settings, instance: dg.DagsterInstance) -> None:
    result = run(instance, judged)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert NoSuchAdapter.__name__ in str(failure.step_failure_data.error)
