"""A household for sensors: its settings, and trainings that take no time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pymongo.database import Database

from event_detection_pipeline.chronicle.queries import newest_sample
from event_detection_pipeline.config import CONFIG_ENV
from event_detection_pipeline.defs.lineage import NEWEST_SAMPLE

CONFIG = """\
min_samples = 10
[automation]
retrain_after_new_samples = 20
retrain_attempts = 3
"""


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "event_detection.toml"
    file.write_text(CONFIG)
    monkeypatch.setenv(CONFIG_ENV, str(file))


@pytest.fixture
def train(instance: dg.DagsterInstance, database: Database[dict[str, Any]]) -> Callable[..., dg.ExecuteInProcessResult]:
    """Run the assets between the stash and the verdict, as a person would, with nothing in them but their lineage."""

    @dg.asset
    def training_clips() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={NEWEST_SAMPLE: newest_sample(database)})

    @dg.asset(deps=[training_clips])
    def training_manifest() -> None: ...

    @dg.asset(deps=[training_manifest])
    def candidate_adapter() -> None: ...

    @dg.asset(deps=[candidate_adapter])
    def adapter_evaluation() -> None: ...

    assets = [training_clips, training_manifest, candidate_adapter, adapter_evaluation]

    def run(*names: str) -> dg.ExecuteInProcessResult:
        return dg.materialize(assets, instance=instance, selection=list(names) if names else None)

    return run
