"""Which runs are forgotten, on a real instance on disk."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from event_detection_pipeline.defs.prune_history import prune, prune_history
from event_detection_pipeline.defs.resources import SettingsResource

TOMORROW = datetime.now(UTC) + timedelta(days=1)


@dg.asset
def training_clips() -> None: ...


@dg.asset(deps=[training_clips])
def training_manifest() -> None: ...


@dg.asset(deps=[training_manifest])
def candidate_adapter() -> None: ...


@dg.asset(deps=[candidate_adapter])
def adapter_evaluation() -> None: ...


ASSETS = [training_clips, training_manifest, candidate_adapter, adapter_evaluation]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as temporary:
        yield temporary


def materialize(instance: dg.DagsterInstance, *names: str) -> str:
    return dg.materialize(ASSETS, instance=instance, selection=list(names)).run_id


def runs(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_the_latest_materialization_of_each_asset_is_kept(instance: dg.DagsterInstance) -> None:
    materialize(instance, "training_clips")
    manifest = materialize(instance, "training_clips", "training_manifest")
    clips = materialize(instance, "training_clips")
    assert prune(instance, TOMORROW) == (1, 2)
    assert runs(instance) == {manifest, clips}
    assert instance.fetch_materializations(dg.AssetKey("training_manifest"), limit=1).records


def test_the_latest_observation_of_an_asset_is_kept(instance: dg.DagsterInstance) -> None:
    @dg.op
    def look(context: dg.OpExecutionContext) -> None:
        context.log_event(dg.AssetObservation("conversations"))

    @dg.job
    def observe() -> None:
        look()

    _, latest = (observe.execute_in_process(instance=instance).run_id for _ in range(2))
    assert prune(instance, TOMORROW) == (1, 1)
    assert runs(instance) == {latest}


def test_what_the_last_judged_adapter_was_trained_on_is_kept(instance: dg.DagsterInstance) -> None:
    trained = materialize(instance, "training_clips")
    materialize(instance, "training_manifest", "candidate_adapter", "adapter_evaluation")
    in_between = materialize(instance, "training_clips")
    materialize(instance, "training_clips", "training_manifest")
    assert prune(instance, TOMORROW) == (1, 3)
    assert trained in runs(instance)
    assert in_between not in runs(instance)


def test_young_runs_and_runs_in_progress_are_kept(instance: dg.DagsterInstance) -> None:
    materialize(instance, "training_clips")
    materialize(instance, "training_clips")
    assert prune(instance, datetime.now(UTC) - timedelta(days=1)) == (0, 0)
    going_on = instance.create_run_for_job(prune_history, status=dg.DagsterRunStatus.STARTED).run_id
    prune(instance, TOMORROW)
    assert going_on in runs(instance)


def test_nothing_of_a_deleted_run_stays_on_disk(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    forgotten = materialize(instance, "training_clips")
    kept = materialize(instance, "training_clips")
    assert list(tmp_path.rglob(f"{forgotten}*"))
    prune(instance, TOMORROW)
    assert not list(tmp_path.rglob(f"{forgotten}*"))
    assert list(tmp_path.rglob(f"{kept}*"))


def test_the_job_says_what_it_did(instance: dg.DagsterInstance) -> None:
    materialize(instance, "training_clips")
    result = prune_history.execute_in_process(instance=instance, resources={"settings": SettingsResource()})
    assert result.success
    (output,) = [event.step_output_data for event in result.all_events if event.is_successful_output]
    assert {name: value.value for name, value in output.metadata.items()} == {
        "deleted runs": 0,
        "old runs still referred to": 0,
    }
