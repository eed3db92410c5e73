"""What a step with a model asks a cluster for, and a cluster that cannot work is named before anything runs."""

import json

import dagster as dg
import pytest

from event_detection_pipeline.config import ClusterSettings, SettingsError, load_settings
from event_detection_pipeline.defs.anomaly_flags import scan_shard
from event_detection_pipeline.defs.cluster import executor, model_step_tags, training_step_tags
from event_detection_pipeline.scan.leases import LEASE_TIME

URL = "s3://household/steps"


def test_without_a_cluster_steps_are_processes_and_ask_for_nothing() -> None:
    assert executor() is None
    assert model_step_tags(ClusterSettings()) == {}


def test_a_step_with_a_model_asks_ray_for_a_part_of_a_card() -> None:
    settings = ClusterSettings(executor="ray", url=URL, cpus=2, gpus=0.25, memory_gb=3)
    assert model_step_tags(settings) == {
        "dagster-ray/config": {"num_cpus": 2.0, "num_gpus": 0.25, "memory": 3_000_000_000}
    }


def test_a_pod_without_a_card_does_not_name_one() -> None:
    with_card = model_step_tags(ClusterSettings(executor="kubernetes", url=URL))["dagster-k8s/config"]
    assert with_card["container_config"]["resources"] == {
        "requests": {"cpu": "4.0", "memory": "16000000000"},
        "limits": {"memory": "16000000000", "nvidia.com/gpu": "1"},
    }
    without = model_step_tags(ClusterSettings(executor="kubernetes", url=URL, gpus=0))
    assert "nvidia" not in json.dumps(without)


def test_a_training_in_two_processes_asks_for_two_whole_cards_and_twice_the_rest() -> None:
    settings = ClusterSettings(executor="ray", url=URL, cpus=2, gpus=0.25, memory_gb=3)
    assert training_step_tags(settings) == model_step_tags(settings)
    assert training_step_tags(settings.model_copy(update={"training_processes": 2})) == {
        "dagster-ray/config": {"num_cpus": 4.0, "num_gpus": 2, "memory": 6_000_000_000}
    }


def test_a_shard_is_tried_again_when_its_leases_are_free() -> None:
    assert isinstance(scan_shard, dg.OpDefinition)
    policy = scan_shard.retry_policy
    assert policy is not None and policy.calculate_delay(1) >= LEASE_TIME.total_seconds()


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"executor": "ray"}, "needs a url"),
        ({"executor": "kubernetes", "url": URL, "gpus": 0.5}, "whole cards"),
        ({"executor": "ray", "url": "/mnt/steps"}, "cluster.url"),
        ({"executor": "slurm"}, "cluster.executor"),
    ],
)
def test_a_cluster_that_cannot_work_is_named(cluster: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(cluster=cluster)
