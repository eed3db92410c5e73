"""What a step does when MongoDB goes away, and what when something else is wrong; how a preset passes its settings."""

from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.database import Database
from pymongo.errors import AutoReconnect, OperationFailure

from event_detection_pipeline.defs.resources import MongoResource, SettingsResource, backoff_seconds


def run(mongo: MongoResource, *errors: Exception | None) -> tuple[dg.ExecuteInProcessResult, int]:
    """Run a step that meets one of the errors at each attempt. Returns the result and the number of attempts."""
    attempts = list(errors)

    @dg.asset
    def reader(context: dg.AssetExecutionContext, mongo: MongoResource) -> None:
        with mongo.for_step(context) as database:
            if error := attempts.pop(0):
                raise error
            database.list_collection_names()

    result = dg.materialize([reader], resources={"mongo": mongo}, raise_on_error=False)
    return result, len(errors) - len(attempts)


@pytest.fixture
def mongo(mongodb_uri: str, database: Database[dict[str, Any]]) -> MongoResource:
    return MongoResource(
        uri=mongodb_uri, database=database.name, retries=2, first_wait_seconds=0.01, timeout_seconds=0.2
    )


def test_a_server_that_comes_back_is_waited_for(mongo: MongoResource) -> None:
    result, attempts = run(mongo, AutoReconnect("connection closed"), AutoReconnect("not primary"), None)
    assert result.success
    assert attempts == 3


def test_a_server_that_stays_away_fails_the_step_and_says_why() -> None:
    away = MongoResource(uri="mongodb://127.0.0.1:1", retries=1, first_wait_seconds=0.01, timeout_seconds=0.1)
    result, _ = run(away, None)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert "127.0.0.1:1 does not answer" in failure.step_failure_data.error_display_string


@pytest.mark.parametrize("error", [OperationFailure("bad query"), ValueError("a bug")])
def test_any_other_error_fails_at_once(mongo: MongoResource, error: Exception) -> None:
    result, attempts = run(mongo, error, None)
    assert not result.success
    assert attempts == 1


@given(st.integers(0, 6))
def test_waits_double_and_are_spread(retry: int) -> None:
    waits = {backoff_seconds(10, retry) for _ in range(20)}
    assert len(waits) > 1
    assert all(5 * 2**retry <= wait <= 15 * 2**retry for wait in waits)


def test_a_preset_changes_the_epochs_and_nothing_else() -> None:
    usual = SettingsResource().load()
    quick = SettingsResource(epochs=1).load()
    assert quick.training.epochs == 1
    assert quick.training.model_copy(update={"epochs": usual.training.epochs}) == usual.training
