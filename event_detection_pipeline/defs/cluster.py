"""Where steps run, and what those with a model ask a cluster for: `cluster` in the settings."""

import math
from typing import Any

import dagster as dg

from event_detection_pipeline.config import ClusterSettings, SettingsError, load_settings

# Read when the code location loads: Dagster asks for the executor and the steps' tags then.
_CLUSTER = load_settings().cluster


def executor() -> dg.ExecutorDefinition | None:
    """None stands for Dagster's own: a process for each step, on the machine of the run.

    Raises:
        SettingsError: the executor's package is not installed.
    """
    try:
        if _CLUSTER.executor == "ray":
            from dagster_ray import ray_executor

            return ray_executor
        if _CLUSTER.executor == "kubernetes":
            from dagster_k8s import k8s_job_executor

            return k8s_job_executor
    except ImportError as error:
        raise SettingsError(f"cluster.executor = {_CLUSTER.executor!r} needs a package: {error}") from None
    return None


def between_steps() -> dg.FilesystemIOManager:
    """Keeps what one step hands to the next, at a URL that fsspec opens; without one in Dagster's own folder."""
    return dg.FilesystemIOManager(base_dir=_CLUSTER.url)


def model_step_tags(cluster: ClusterSettings = _CLUSTER) -> dict[str, Any]:
    """The tags of a step that has a model in memory, from which an executor reads what to give it."""
    if cluster.executor == "ray":
        # Without a request of its own a step runs on the head node.
        asked = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus, "memory": round(cluster.memory_gb * 1e9)}
        return {"dagster-ray/config": asked}
    if cluster.executor == "kubernetes":
        asked = {"cpu": str(cluster.cpus), "memory": str(round(cluster.memory_gb * 1e9))}
        limits = {"memory": asked["memory"]} | ({"nvidia.com/gpu": str(round(cluster.gpus))} if cluster.gpus else {})
        return {"dagster-k8s/config": {"container_config": {"resources": {"requests": asked, "limits": limits}}}}
    return {}


def training_step_tags(cluster: ClusterSettings = _CLUSTER) -> dict[str, Any]:
    """The same for the step that trains, in however many processes; where there are several, each has a whole card."""
    processes = cluster.training_processes
    if processes == 1:
        return model_step_tags(cluster)
    together = {
        "cpus": processes * cluster.cpus,
        "gpus": processes * math.ceil(cluster.gpus),
        "memory_gb": processes * cluster.memory_gb,
    }
    return model_step_tags(cluster.model_copy(update=together))
