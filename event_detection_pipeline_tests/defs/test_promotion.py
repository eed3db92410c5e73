"""Promotion, approval and rollback as Dagster runs them, on a store whose adapters took no training."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.config import CONFIG_ENV, Settings, load_settings
from event_detection_pipeline.defs.promoted_adapter import promoted_adapter
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource, SettingsResource
from event_detection_pipeline.defs.rollback import rollback_adapter
from event_detection_pipeline.defs.sensors.approvals import approvals
from event_detection_pipeline_tests.adapters.stored import add_adapter
from event_detection_pipeline_tests.review.flags import add_flagged, version_of

Db = Database[dict[str, Any]]
# The default event: the code location reads the events' names once, when it loads.
EVENT = "event"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    file = tmp_path / "event_detection.toml"
    file.write_text(f'data_dir = "{(tmp_path / "data").as_posix()}"\n[adapters]\nrequire_approval = true\n')
    monkeypatch.setenv(CONFIG_ENV, str(file))
    return load_settings()


@pytest.fixture
def store(settings: Settings) -> AdapterStore:
    return AdapterStore(settings.adapter_dir)


def promote(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    @dg.asset(deps=[promoted_adapter])
    def after_it() -> None: ...

    resources = {"settings": SettingsResource(), "store": AdapterStoreResource()}
    return dg.materialize([promoted_adapter, after_it], instance=instance, resources=resources, raise_on_error=False)


def tick(instance: dg.DagsterInstance) -> Any:
    return approvals(dg.build_sensor_context(instance), store=AdapterStoreResource())


def text_of(metadata: Any) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items()}


def test_a_first_candidate_waits_without_failing_and_goes_on_when_approved(
    settings: Settings, store: AdapterStore, instance: dg.DagsterInstance
) -> None:
    version = add_adapter(settings, EVENT)
    result = promote(instance)
    assert result.success
    assert store.promoted(EVENT) is None
    assert not result.asset_materializations_for_node("after_it"), "there is nothing to scan with yet"
    (observation,) = result.get_asset_observation_events()
    waiting = text_of(observation.asset_observation_data.asset_observation.metadata)
    assert waiting["reason"].startswith("event_v1 is waiting for approval")
    assert "adapters promote event_v1 --approve" in waiting["how to approve"]
    assert isinstance(skipped := tick(instance), dg.SkipReason)
    assert "waiting for approval" in (skipped.skip_message or "")
    store.approve(version, by="ada", reason="sounds right")
    (request,) = tick(instance)
    assert request.run_key.startswith("approval-event_v1-")
    assert promote(instance).success
    assert store.promoted(EVENT) == version
    assert isinstance(tick(instance), dg.SkipReason)


def test_while_a_second_candidate_waits_the_first_keeps_scanning(
    settings: Settings, store: AdapterStore, instance: dg.DagsterInstance
) -> None:
    first = add_adapter(settings, EVENT)
    store.approve(first, by="ada", reason="sounds right")
    promote(instance)
    add_adapter(settings, EVENT)
    result = promote(instance)
    (materialization,) = result.asset_materializations_for_node("promoted_adapter")
    shown = text_of(materialization.metadata)
    assert (shown["promoted"], shown["candidate"]) == ("event_v1", "event_v2 (waiting)")
    assert result.asset_materializations_for_node("after_it")
    assert store.promoted(EVENT) == first


def test_a_failed_candidate_does_not_slip_through_with_an_approval(
    settings: Settings, store: AdapterStore, instance: dg.DagsterInstance
) -> None:
    store.approve(add_adapter(settings, EVENT, passed=False), by="ada", reason="please")
    result = promote(instance)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert "average precision 0.10 is too low" in str(failure.step_failure_data.user_failure_data)
    assert store.promoted(EVENT) is None
    assert isinstance(tick(instance), dg.SkipReason)


@pytest.mark.parametrize("rescan", [True, False])
def test_the_rollback_job_goes_back_and_takes_flags_back_if_asked(
    settings: Settings,
    store: AdapterStore,
    instance: dg.DagsterInstance,
    database: Db,
    mongo: MongoResource,
    rescan: bool,
) -> None:
    for _ in range(2):
        store.promote(add_adapter(settings, EVENT), by="test", reason="next")
    flagged = add_flagged(database, adapter="event_v2")
    result = rollback_adapter.execute_in_process(
        instance=instance,
        resources={"store": AdapterStoreResource(), "mongo": mongo},
        run_config={"ops": {"go_back": {"config": {"reason": "alarms all night", "rescan": rescan}}}},
    )
    assert result.success
    assert store.promoted(EVENT) == AdapterVersion(EVENT, 1)
    assert store.promotions(EVENT)[-1].reason == "alarms all night"
    assert version_of(database, flagged)["maybe_anomaly"] is (None if rescan else True)
    assert promote(instance).success
    assert store.promoted(EVENT) == AdapterVersion(EVENT, 1), "what was rolled back must not come back by itself"


def test_a_rollback_that_lost_mongodb_is_executed_again_and_goes_back_one_step(
    settings: Settings, store: AdapterStore, instance: dg.DagsterInstance, database: Db, mongo: MongoResource
) -> None:
    for _ in range(3):
        store.promote(add_adapter(settings, EVENT), by="test", reason="next")
    flagged = add_flagged(database, adapter="event_v3")
    away = MongoResource(uri="mongodb://127.0.0.1:9", timeout_seconds=0.2, retries=1, first_wait_seconds=0.01)
    run_config = {"ops": {"go_back": {"config": {"rescan": True}}}}

    def go_back(mongo: MongoResource, tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
        return rollback_adapter.execute_in_process(
            instance=instance,
            resources={"store": AdapterStoreResource(), "mongo": mongo},
            run_config=run_config,
            tags=tags,
            raise_on_error=False,
        )

    failed = go_back(away)
    assert not failed.success
    again = go_back(mongo, {"dagster/root_run_id": failed.run_id, "dagster/parent_run_id": failed.run_id})
    assert again.success
    assert store.promoted(EVENT) == AdapterVersion(EVENT, 2)
    assert version_of(database, flagged)["maybe_anomaly"] is None
