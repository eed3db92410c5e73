"""The files of a Ray cluster agree with those of a single machine."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


def test_the_instance_of_a_ray_cluster_differs_in_where_its_storage_is_only() -> None:
    cluster, containers = load("deploy/ray/dagster.yaml"), load("deploy/dagster.yaml")
    there, here = (one.pop("storage")["postgres"]["postgres_db"] for one in (cluster, containers))
    assert cluster == containers
    assert there == here | {"hostname": {"env": "POSTGRES_HOST"}}


def test_the_workspace_of_a_ray_cluster_is_the_usual_one() -> None:
    cluster, usual = (
        load(name)["load_from"][0]["python_module"] for name in ("deploy/ray/workspace.yaml", "workspace.yaml")
    )
    assert cluster.items() <= usual.items()
