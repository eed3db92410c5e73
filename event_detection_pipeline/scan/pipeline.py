"""Work ahead: threads prepare what the caller is about to need, and wait when they are too far ahead."""

from collections.abc import Callable, Generator, Iterable, Iterator
from queue import Full, Queue
from threading import Event, Lock, Thread
from typing import TypeVar

Task = TypeVar("Task")
Item = TypeVar("Item")

_POLL_SECONDS = 0.1  # how soon a waiting thread notices that nobody wants its result any more

_FINISHED = object()


def prepared(
    tasks: Iterable[Task], prepare: Callable[[Task], Iterator[Item]], *, threads: int, ahead: int
) -> Generator[Item]:
    """The items of all tasks, those of one task in their order, those of several mixed.

    Tasks are drawn one at a time and only as fast as the items are taken. What a task or `prepare` raises is raised
    here; when the caller closes this early, the threads end.

    Args:
        threads: how many tasks are in work at a time.
        ahead: how many items may wait.
    """
    ready: Queue[object] = Queue(ahead)
    closed, drawing = Event(), Lock()
    source = iter(tasks)

    def put(item: object) -> None:
        while not closed.is_set():
            try:
                ready.put(item, timeout=_POLL_SECONDS)
                return
            except Full:
                continue

    def work() -> None:
        try:
            while not closed.is_set():
                with drawing:
                    task = next(source, _FINISHED)
                if task is _FINISHED:
                    break
                for item in prepare(task):  # pyright: ignore[reportArgumentType]
                    put(item)
                    if closed.is_set():
                        return
            put(_FINISHED)
        except BaseException as error:
            put(_Failed(error))

    workers = [Thread(target=work, name=f"prepare-{number}", daemon=True) for number in range(threads)]
    for worker in workers:
        worker.start()
    try:
        running = threads
        while running:
            item = ready.get()
            if item is _FINISHED:
                running -= 1
            elif isinstance(item, _Failed):
                raise item.error
            else:
                yield item  # pyright: ignore[reportReturnType]
    finally:
        closed.set()
        for worker in workers:
            worker.join()


class _Failed:
    """What a thread raised, on its way to the caller."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
