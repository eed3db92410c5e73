"""Many tasks on all cores, with few of them in memory at a time."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from event_detection_pipeline.errors import PipelineError

Task = TypeVar("Task")
Result = TypeVar("Result")

# Fewer tasks than this are done before a second process has started (about a second).
_WORTH_A_POOL = 64
# Enough to do while a long conversation is being read; a task holds the encoded audio of a few windows (100 kB).
_IN_FLIGHT_PER_PROCESS = 16


class WorkerDied(PipelineError):
    """A process disappeared without a word."""

    def __init__(self) -> None:
        super().__init__(
            "a process that makes clips was killed, most likely because memory ran out: set clips.processes to a lower "
            "number; the next export goes on where this one stopped"
        )


def run_all(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, expected: int, processes: int | None
) -> Iterator[Result]:
    """Results in the order of the tasks, which are drawn only as fast as they are done.

    Raises:
        WorkerDied: a process was killed.

    Args:
        function: top-level, because processes are spawned: a fork would copy the database client's threads.
        expected: about how many tasks there are; few are done in this process.
        processes: how many at most; None for one a core.
    """
    processes = processes or os.cpu_count() or 1
    if processes == 1 or expected < _WORTH_A_POOL:
        yield from map(function, tasks)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                running.append(pool.submit(function, task))
                if len(running) >= _IN_FLIGHT_PER_PROCESS * processes:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool:
            raise WorkerDied from None
