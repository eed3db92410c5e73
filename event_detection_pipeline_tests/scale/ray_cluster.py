"""A Ray cluster of several nodes on this machine, each a tree of processes that can be killed as a machine dies."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import ray.exceptions
from ray.job_submission import JobSubmissionClient

# Ray waits half a minute and more before it takes a machine for dead; a test need not.
_IMPATIENT = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}
_START_SECONDS = 90


class Node:
    """A node with one CPU, started by `ray start`.

    Args:
        environment: variables of the steps that run on it.
    """

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        command = [
            *(str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats"),
            *("--node-ip-address=127.0.0.1", "--num-cpus=1", "--num-gpus=0", "--object-store-memory=100000000"),
            f"--dashboard-agent-listen-port={free_port()}",
            *arguments,
        ]
        self._process = subprocess.Popen(
            command, env=os.environ | _IMPATIENT | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """SIGKILL for everything that runs on it."""
        with suppress(psutil.NoSuchProcess):
            node = psutil.Process(self._process.pid)
            for process in (node, *node.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()


@contextmanager
def ray_cluster(environments: list[dict[str, str]]) -> Iterator[tuple[str, list[Node]]]:
    """A node for each environment, the first of which is the head. The address for jobs, and the nodes."""
    head, dashboard = free_port(), free_port()
    address = f"http://127.0.0.1:{dashboard}"
    nodes: list[Node] = []
    # Ray's sockets lie in it: a test's own folder would have too long a name.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        try:
            ports = [f"--port={head}", f"--dashboard-port={dashboard}", f"--temp-dir={folder}"]
            nodes.append(Node(["--head", "--include-dashboard=true", *ports], environments[0]))
            _wait_for(address)
            for environment in environments[1:]:
                nodes.append(Node([f"--address=127.0.0.1:{head}"], environment))
            yield address, nodes
        finally:
            for node in reversed(nodes):
                node.kill()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            JobSubmissionClient(address).submit_job(entrypoint="true")
            return
        except (ConnectionError, RuntimeError, ray.exceptions.RayError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
