"""Which runs go on, and what they make."""

import dagster as dg
import pytest

from event_detection_pipeline.definitions import defs
from event_detection_pipeline.defs.runs import run_in_progress

TRAINS = ("full_loop",)


@pytest.mark.parametrize(
    ("status", "going_on"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, True),
        (dg.DagsterRunStatus.STARTED, True),
        (dg.DagsterRunStatus.CANCELING, True),
        (dg.DagsterRunStatus.CANCELED, False),
        (dg.DagsterRunStatus.SUCCESS, False),
    ],
)
def test_a_run_goes_on_until_it_has_ended(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, going_on: bool
) -> None:
    instance.create_run_for_job(defs.resolve_job_def("full_loop"), status=status)
    assert (run_in_progress(instance, TRAINS, "candidate_adapter") is not None) == going_on


@pytest.mark.parametrize(("asset", "trains"), [("training_clips", False), ("candidate_adapter", True)])
def test_a_selection_of_assets_made_in_the_ui_counts_for_what_it_makes(
    instance: dg.DagsterInstance, asset: str, trains: bool
) -> None:
    instance.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset({dg.AssetKey(asset)}),
        status=dg.DagsterRunStatus.STARTED,
    )
    assert (run_in_progress(instance, TRAINS, "candidate_adapter") is not None) == trains
