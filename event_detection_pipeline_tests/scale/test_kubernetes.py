"""deploy/k8s, as the objects Dagster would create from it: the pod of a shard, checked against Kubernetes' schemas.

What the official chart makes of the values is written down here by hand; test_chart.py has Helm render it and compares.
"""

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
RELEASE = "event-detection"  # as deploy/k8s/README.md installs it


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "k8s" / "values.yaml").read_text())


def launcher_config(values: dict[str, Any]) -> dict[str, Any]:
    """What the chart writes into dagster.yaml for the run launcher."""
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    return {
        "image_pull_policy": launcher["imagePullPolicy"],
        "service_account_name": f"{RELEASE}-dagster",
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": f"{RELEASE}-dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "run_k8s_config": {
            "container_config": launcher["runK8sConfig"]["containerConfig"],
            "pod_spec_config": launcher["runK8sConfig"]["podSpecConfig"],
            "job_spec_config": launcher["runK8sConfig"]["jobSpecConfig"],
        },
    }


def container_context(values: dict[str, Any]) -> dict[str, Any]:
    """What the chart has the code server ask for in each of its runs."""
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    return {
        "image_pull_policy": deployment["image"]["pullPolicy"],
        "env_config_maps": [f"{RELEASE}-dagster-user-deployments-{deployment['name']}-user-env"],
        "env_secrets": [secret["name"] for secret in deployment["envSecrets"]],
        "volume_mounts": deployment["volumeMounts"],
        "volumes": deployment["volumes"],
        "resources": deployment["resources"],
    }


def job_of(launcher: dict[str, Any], context: dict[str, Any], image: str, step_tags: dict[str, Any]) -> dict[str, Any]:
    """The job of a step, as the executor puts it together from the run launcher's configuration, the code server's
    and the step's tags, valid by Kubernetes' schemas."""
    import kubernetes_validate
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import (
        DagsterK8sJobConfig,
        UserDefinedDagsterK8sConfig,
        construct_dagster_k8s_job,
        get_user_defined_k8s_config,
    )
    from kubernetes.client import ApiClient

    of_runs = UserDefinedDagsterK8sConfig.from_dict(launcher["run_k8s_config"])
    of_code = K8sContainerContext.create_from_config({"k8s": context})
    tags = {key: json.dumps(value) for key, value in step_tags.items()}
    of_step = K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(tags))
    merged = K8sContainerContext(run_k8s_config=of_runs).merge(of_code).merge(of_step)
    config = DagsterK8sJobConfig(
        job_image=image,
        dagster_home=launcher["dagster_home"],
        instance_config_map=launcher["instance_config_map"],
        postgres_password_secret=launcher["postgres_password_secret"],
    )
    made = construct_dagster_k8s_job(config, ["dagster"], "step", user_defined_k8s_config=merged.run_k8s_config)
    job: Any = ApiClient().sanitize_for_serialization(made)
    kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)
    return job


def pod_of(values: dict[str, Any], step_tags: dict[str, Any]) -> dict[str, Any]:
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    image = f"{deployment['image']['repository']}:{deployment['image']['tag']}"
    job = job_of(launcher_config(values), container_context(values), image, step_tags)
    return job["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(values: dict[str, Any]) -> dict[str, Any]:
    return pod_of(values, model_step_tags(ClusterSettings(executor="kubernetes", url="s3://x/y")))["containers"][0]


def test_a_shard_gets_what_the_settings_say_and_not_what_the_code_server_needs(container: dict[str, Any]) -> None:
    assert container["resources"]["limits"] == {"memory": "16000000000", "nvidia.com/gpu": "1"}
    assert container["resources"]["requests"] == {"cpu": "4.0", "memory": "16000000000"}


def test_a_step_without_a_model_takes_no_card(values: dict[str, Any]) -> None:
    (light,) = pod_of(values, {})["containers"]
    assert "nvidia.com/gpu" not in json.dumps(light["resources"])


def test_passwords_come_from_secrets(values: dict[str, Any], container: dict[str, Any]) -> None:
    (secret,) = [one["secretRef"] for one in container["envFrom"] if "secretRef" in one]
    assert secret["name"] == "event-detection"
    (password,) = [one for one in container["env"] if one["name"] == "DAGSTER_PG_PASSWORD"]
    assert password["valueFrom"]["secretKeyRef"]["name"] == "event-detection-postgres"
    text = json.dumps(values)
    assert "postgresqlPassword" not in text and "mongodb://" not in text


def test_a_pod_finds_its_settings_and_data_and_does_not_run_as_root(
    values: dict[str, Any], container: dict[str, Any]
) -> None:
    import kubernetes_validate

    (deployment,) = values["dagster-user-deployments"]["deployments"]
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert deployment["env"]["EVENT_DETECTION_DATA_DIR"] == mounts["data"]
    assert str(Path(deployment["env"]["EVENT_DETECTION_CONFIG"]).parent) == mounts["config"]
    claim = yaml.safe_load((DEPLOY / "k8s" / "data.yaml").read_text())
    kubernetes_validate.validate(claim, kubernetes_validate.latest_version(), strict=True)
    volumes = {volume["name"]: volume for volume in deployment["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for user in (pod_of(values, {})["securityContext"], deployment["podSecurityContext"]):
        assert user["runAsUser"] == 10001  # as in deploy/Dockerfile
    for one in (container, deployment):
        assert one["securityContext"]["allowPrivilegeEscalation"] is False


def test_the_run_launcher_and_the_executor_take_this_configuration(values: dict[str, Any]) -> None:
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher, k8s_job_executor

    processed = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), launcher_config(values))
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
    assert values["additionalInstanceConfig"] == {"nux": usual["nux"]}
    assert values["concurrency"]["pools"] == {"defaultLimit": usual["concurrency"]["pools"]["default_limit"]}
    assert values["telemetry"] == usual["telemetry"]
    monitoring = values["dagsterDaemon"]["runMonitoring"]
    assert monitoring["freeSlotsAfterRunEndSeconds"] == usual["run_monitoring"]["free_slots_after_run_end_seconds"]
    for what in ("schedule", "sensor"):
        kept = dict(values["retention"][what]["purgeAfterDays"])
        assert kept.pop("started") == -1  # the chart asks for it; Dagster's own default
        assert kept == usual["retention"][what]["purge_after_days"]
