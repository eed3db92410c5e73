"""What the processes of a training say to each other: two real ones, and one alone."""

import multiprocessing
import socket
import time
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import torch

from event_detection_pipeline.adapters.distributed import ALONE, Processes, launched

CPU = torch.device("cpu")
ITEMS = list("abcde")
EXPECTED = {"found": ["fetched"], "shouted": list("ABCDE"), "few": ["one"], "said": "by 0"}


def heard(processes: Processes, folder: Path) -> dict[str, Any]:
    """What a process hears from itself and the others."""
    total, vector = torch.tensor(1.0 + processes.rank), torch.full((2, 2), 10.0 * processes.rank)
    with processes.joined(CPU):
        if processes.is_first:
            time.sleep(0.2)
            (folder / "fetched").touch()
        processes.wait()
        found = list(folder.iterdir())
        processes.add_up([total, vector])
        return {
            "found": [path.name for path in found],
            "shouted": processes.collect([item.upper() for item in processes.share(ITEMS)]),
            "few": processes.collect(processes.share(["one"])),
            "said": processes.agree(f"by {processes.rank}"),
            "sums": (total.item(), vector.tolist()),
        }


def in_a_process(rank: int, folder: Path, port: int, answers: "Queue[dict[str, Any]]") -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
            patch.setenv(name, str(value))
        answers.put(heard(launched(), folder))


def test_all_hear_the_first_and_the_sum_of_all(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    answers: Queue[dict[str, Any]] = context.Queue()
    children = [context.Process(target=in_a_process, args=(rank, tmp_path, port, answers)) for rank in range(2)]
    for child in children:
        child.start()
    found = [answers.get(timeout=120) for _ in children]
    for child in children:
        child.join()
    expected = EXPECTED | {"sums": (3.0, [[10.0, 10.0], [10.0, 10.0]])}
    assert found == [expected, expected]


def test_a_process_alone_hears_itself(tmp_path: Path) -> None:
    assert launched() == ALONE
    assert heard(ALONE, tmp_path) == EXPECTED | {"sums": (1.0, [[0.0, 0.0], [0.0, 0.0]])}
