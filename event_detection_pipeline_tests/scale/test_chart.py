"""deploy/k8s, rendered by Helm with the official chart (deploy/k8s/README.md says how to have it; skipped without)."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from event_detection_pipeline.config import ClusterSettings
from event_detection_pipeline.defs.cluster import model_step_tags
from event_detection_pipeline_tests.scale.test_kubernetes import (
    DEPLOY,
    RELEASE,
    container_context,
    job_of,
    launcher_config,
)

CHART = Path(os.environ.get("DAGSTER_CHART", ""))
HELM = shutil.which("helm") or ""

pytestmark = [
    pytest.mark.scale,
    pytest.mark.skipif(not HELM, reason="Helm is not installed"),
    pytest.mark.skipif(not (CHART / "Chart.yaml").is_file(), reason="DAGSTER_CHART is not the chart's folder"),
]


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """What Helm would install, by kind and name. Helm itself checks the values against the chart's schema."""
    command = [HELM, "template", RELEASE, str(CHART), "--values", str(DEPLOY / "k8s" / "values.yaml")]
    rendered = subprocess.run(command, capture_output=True, text=True)
    assert rendered.returncode == 0, rendered.stderr
    found = [one for one in yaml.safe_load_all(rendered.stdout) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


@pytest.fixture(scope="module")
def instance(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    return yaml.safe_load(objects["ConfigMap", f"{RELEASE}-dagster-instance"]["data"]["dagster.yaml"])


@pytest.fixture(scope="module")
def code_server(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    deployment = objects["Deployment", f"{RELEASE}-dagster-user-deployments-event-detection-pipeline"]
    return deployment["spec"]["template"]["spec"]


def context_of(code_server: dict[str, Any]) -> dict[str, Any]:
    """What the code server's runs are told to ask Kubernetes for."""
    names = ("DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT", "DAGSTER_CONTAINER_CONTEXT")
    (found,) = [one["value"] for one in code_server["containers"][0]["env"] if one["name"] in names]
    return json.loads(found)["k8s"]


def test_the_chart_is_that_of_this_dagster() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["version"] == dg.__version__


def test_all_that_it_installs_is_valid(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    import kubernetes_validate

    for one in objects.values():
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    # Passwords and volumes are not the chart's to make.
    assert {kind for kind, _ in objects} & {"Secret", "PersistentVolumeClaim", "StatefulSet"} == set()


def test_dagster_takes_the_instance_and_it_is_that_of_the_container_files(
    instance: dict[str, Any], tmp_path: Path
) -> None:
    from dagster._core.instance.ref import InstanceRef

    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance))
    InstanceRef.from_dir(str(tmp_path))  # raises an error for what Dagster does not know
    usual = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    for name in ("telemetry", "nux", "concurrency", "python_logs"):
        assert instance[name] == usual[name]
    assert instance["run_monitoring"].items() >= usual["run_monitoring"].items()
    for what in ("schedule", "sensor"):
        kept, expected = (one["retention"][what]["purge_after_days"] for one in (instance, usual))
        assert kept.items() >= expected.items()


def test_what_test_kubernetes_takes_for_granted_is_so(instance: dict[str, Any], code_server: dict[str, Any]) -> None:
    values = yaml.safe_load((DEPLOY / "k8s" / "values.yaml").read_text())
    assert instance["run_launcher"]["class"] == "K8sRunLauncher"
    assert instance["run_launcher"]["config"].items() >= launcher_config(values).items()
    assert context_of(code_server).items() >= container_context(values).items()


def test_a_shard_finds_the_settings_and_data_of_the_code_server(
    objects: dict[tuple[str, str], dict[str, Any]], instance: dict[str, Any], code_server: dict[str, Any]
) -> None:
    (server,) = code_server["containers"]
    tags = model_step_tags(ClusterSettings(executor="kubernetes", url="s3://x/y"))
    job = job_of(instance["run_launcher"]["config"], context_of(code_server), server["image"], tags)
    shard = job["spec"]["template"]["spec"]
    (container,) = shard["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert shard["securityContext"] == code_server["securityContext"]
    assert container["securityContext"] == server["securityContext"]
    for pod, one in ((shard, container), (code_server, server)):
        assert {"/config", "/data"} <= {mount["mountPath"] for mount in one["volumeMounts"]}
        assert {"config", "data"} <= {volume["name"] for volume in pod["volumes"]}
        named = [source["configMapRef"]["name"] for source in one["envFrom"] if "configMapRef" in source]
        (settings,) = [objects["ConfigMap", name]["data"] for name in named if name.endswith("-user-env")]
        assert settings["EVENT_DETECTION_CONFIG"] == "/config/event_detection.toml"
        assert {"secretRef": {"name": "event-detection"}} in one["envFrom"]
    assert shard["serviceAccountName"] == code_server["serviceAccountName"]


def test_the_web_server_and_the_daemon_find_the_code_server(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    workspace = yaml.safe_load(objects["ConfigMap", f"{RELEASE}-dagster-workspace-yaml"]["data"]["workspace.yaml"])
    (location,) = [one["grpc_server"] for one in workspace["load_from"]]
    (port,) = objects["Service", location["host"]]["spec"]["ports"]
    assert location["port"] == port["port"]
