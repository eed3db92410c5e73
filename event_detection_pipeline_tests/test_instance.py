"""dagster.yaml, as Dagster itself reads it."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from event_detection_pipeline.defs.common import GPU_POOL

FILE = Path(__file__).parent.parent / "dagster.yaml"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(FILE.read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as loaded:
        yield loaded


def test_a_killed_step_gives_the_gpu_back(instance: dg.DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 30


def test_runs_that_hang_are_ended(instance: dg.DagsterInstance) -> None:
    assert instance.run_monitoring_enabled, "dagster/max_runtime is looked at by run monitoring only"


def test_one_step_at_a_time_has_the_gpu(instance: dg.DagsterInstance) -> None:
    from event_detection_pipeline.definitions import defs

    pools = {
        node.name: node.pool
        for asset in defs.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for node in [asset.op]
    }
    assert {name for name, pool in pools.items() if pool == GPU_POOL} == {
        "candidate_adapter",
        "adapter_evaluation",
        "anomaly_flags",
    }
    assert instance.get_concurrency_config().pool_config.default_pool_limit == 1


def test_nothing_leaves_the_house(instance: dg.DagsterInstance) -> None:
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled
