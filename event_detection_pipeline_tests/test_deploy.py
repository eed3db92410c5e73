"""The container files agree with the project, and open nothing to the network by themselves."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def _load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_instance_in_containers_differs_in_its_storage_only():
    in_containers = _load("deploy/dagster.yaml")
    assert in_containers.pop("storage")["postgres"]["postgres_db"]["password"] == {"env": "POSTGRES_PASSWORD"}
    assert in_containers == _load("dagster.yaml")


def test_every_published_port_is_on_this_machine_unless_somebody_says_otherwise():
    services = _load("deploy/compose.yaml")["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith(("127.0.0.1:", "${REVIEW_ADDRESS:-127.0.0.1}:")) for port in published)


def test_the_container_files_keep_to_the_compose_specification():
    files = [str(ROOT / "deploy" / name) for name in ("compose.yaml", "compose.gpu.yaml")]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_a_service_names_is_there():
    text = (ROOT / "deploy/compose.yaml").read_text(encoding="utf-8")
    compose = yaml.safe_load(text)
    services, told = compose["services"], (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    assert _load("deploy/compose.gpu.yaml")["services"].keys() <= services.keys()
    for service in services.values():
        assert service.get("depends_on", {}).keys() <= services.keys()
        sources = [mount.split(":")[0] for mount in service["volumes"] if not mount.startswith("$")]
        assert set(sources) <= compose["volumes"].keys()
    assert all(name in told for name in re.findall(r"\$\{(\w+):\?", text))


def test_the_build_context_holds_what_the_image_copies():
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    dockerfile = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    copied = [source for line in re.findall(r"^COPY (.*)$", dockerfile, re.M) for source in line.split()[:-1]]
    assert ignore[0] == "*"
    assert {source.split("/")[0] for source in copied} <= {line.removeprefix("!") for line in ignore[1:]}


def test_every_service_tells_whether_it_is_healthy_and_none_runs_as_root():
    services = _load("deploy/compose.yaml")["services"]
    assert all("healthcheck" in service for service in services.values())
    assert [name for name, service in services.items() if "build" not in service and "user" not in service] == []
    dockerfile = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    assert "\nUSER household\n" in dockerfile
    assert dockerfile.rindex("RUN ") < dockerfile.index("USER household")


def test_no_secret_has_a_default():
    text = (ROOT / "deploy/compose.yaml").read_text(encoding="utf-8")
    for secret in ("POSTGRES_PASSWORD", "REVIEW_TOKEN"):
        assert f"${{{secret}:-" not in text and f"${{{secret}}}" not in text
