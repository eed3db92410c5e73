"""deploy/k8s, as the objects Dagster would create from it: the pod of a shard, checked by Kubernetes' own client."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from event_detection_pipeline.config import ClusterSettings
from event_detection_pipeline.defs.cluster import model_step_tags

pytestmark = pytest.mark.scale

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "k8s" / "values.yaml").read_text())


@pytest.fixture(scope="module")
def container(values: dict[str, Any]) -> dict[str, Any]:
    return pod_of(values, model_step_tags(ClusterSettings(executor="kubernetes", url="s3://x/y")))["containers"][0]


def pod_of(values: dict[str, Any], step_tags: dict[str, Any]) -> dict[str, Any]:
    """The pod of a step, put together from the chart's values as its templates and the executor do; every field is
    one that Kubernetes knows, or its client raises an error."""
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import (
        DagsterK8sJobConfig,
        UserDefinedDagsterK8sConfig,
        construct_dagster_k8s_job,
        get_user_defined_k8s_config,
    )

    (deployment,) = values["dagster-user-deployments"]["deployments"]
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    names = {"containerConfig": "container_config", "podSpecConfig": "pod_spec_config"}
    names["jobSpecConfig"] = "job_spec_config"
    of_runs = UserDefinedDagsterK8sConfig.from_dict({names[key]: one for key, one in launcher["runK8sConfig"].items()})
    of_code = K8sContainerContext.create_from_config(
        {
            "k8s": {
                "image_pull_policy": deployment["image"]["pullPolicy"],
                "env_config_maps": ["release-event-detection-pipeline-user-env"],
                "env_secrets": [secret["name"] for secret in deployment["envSecrets"]],
                "volume_mounts": deployment["volumeMounts"],
                "volumes": deployment["volumes"],
                "resources": deployment["resources"],
            }
        }
    )
    tags = {key: json.dumps(value) for key, value in step_tags.items()}
    of_step = K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(tags))
    context = K8sContainerContext(run_k8s_config=of_runs).merge(of_code).merge(of_step)
    image = f"{deployment['image']['repository']}:{deployment['image']['tag']}"
    config = DagsterK8sJobConfig(
        job_image=image,
        dagster_home="/opt/dagster/dagster_home",
        instance_config_map="release-instance",
        postgres_password_secret=values["global"]["postgresqlSecretName"],
    )
    job = construct_dagster_k8s_job(config, ["dagster"], "step", user_defined_k8s_config=context.run_k8s_config)
    return job.to_dict()["spec"]["template"]["spec"]


def test_a_shard_gets_what_the_settings_say_and_not_what_the_code_server_needs(container: dict[str, Any]) -> None:
    assert container["resources"]["limits"] == {"memory": "16000000000", "nvidia.com/gpu": "1"}
    assert container["resources"]["requests"] == {"cpu": "4.0", "memory": "16000000000"}


def test_a_step_without_a_model_takes_no_card(values: dict[str, Any]) -> None:
    (light,) = pod_of(values, {})["containers"]
    assert "nvidia.com/gpu" not in json.dumps(light["resources"])


def test_passwords_come_from_secrets(values: dict[str, Any], container: dict[str, Any]) -> None:
    (secret,) = [one["secret_ref"] for one in container["env_from"] if one["secret_ref"]]
    assert secret["name"] == "event-detection"
    (password,) = [one for one in container["env"] if one["name"] == "DAGSTER_PG_PASSWORD"]
    assert password["value_from"]["secret_key_ref"]["name"] == "event-detection-postgres"
    text = json.dumps(values)
    assert "postgresqlPassword" not in text and "mongodb://" not in text


def test_a_pod_finds_its_settings_and_data_and_does_not_run_as_root(
    values: dict[str, Any], container: dict[str, Any]
) -> None:
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    mounts = {one["name"]: one["mount_path"] for one in container["volume_mounts"]}
    assert deployment["env"]["EVENT_DETECTION_DATA_DIR"] == mounts["data"]
    assert str(Path(deployment["env"]["EVENT_DETECTION_CONFIG"]).parent) == mounts["config"]
    claim = yaml.safe_load((DEPLOY / "k8s" / "data.yaml").read_text())
    volumes = {volume["name"]: volume for volume in deployment["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    pod = pod_of(values, {})
    assert pod["security_context"]["run_as_user"] == 10001  # as in deploy/Dockerfile
    assert container["security_context"]["allow_privilege_escalation"] is False


def test_the_run_launcher_and_the_executor_take_this_configuration(values: dict[str, Any]) -> None:
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher, k8s_job_executor

    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    config = {
        "image_pull_policy": launcher["imagePullPolicy"],
        "service_account_name": "release",
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "release-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "run_k8s_config": {
            "container_config": launcher["runK8sConfig"]["containerConfig"],
            "pod_spec_config": launcher["runK8sConfig"]["podSpecConfig"],
            "job_spec_config": launcher["runK8sConfig"]["jobSpecConfig"],
        },
    }
    processed = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), config)
    assert processed.success, processed.errors
    assert isinstance(k8s_job_executor, dg.ExecutorDefinition)
    assert process_config(k8s_job_executor.config_schema.config_type, {}).success


def test_the_chart_is_of_this_dagsters_version(values: dict[str, Any]) -> None:
    pinned = (DEPLOY.parent / "constraints.txt").read_text()
    assert f"\ndagster=={dg.__version__}\n" in pinned
    for file in ("values.yaml", "README.md"):
        assert f"--version {dg.__version__} " in (DEPLOY / "k8s" / file).read_text()


def test_the_instance_is_that_of_the_container_files(values: dict[str, Any]) -> None:
    usual = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    extra = values["additionalInstanceConfig"]
    assert extra == {"nux": usual["nux"], "concurrency": usual["concurrency"]}
    assert values["telemetry"] == usual["telemetry"]
    monitoring = values["dagsterDaemon"]["runMonitoring"]
    assert monitoring["freeSlotsAfterRunEndSeconds"] == usual["run_monitoring"]["free_slots_after_run_end_seconds"]
    for what in ("schedule", "sensor"):
        kept = dict(values["retention"][what]["purgeAfterDays"])
        assert kept.pop("started") == -1  # the chart asks for it; Dagster's own default
        assert kept == usual["retention"][what]["purge_after_days"]
