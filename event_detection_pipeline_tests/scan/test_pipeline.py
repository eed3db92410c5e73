"""Work ahead: nothing is lost, little is held, and errors and early ends arrive."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from event_detection_pipeline.scan.pipeline import prepared


def test_all_items_come_and_those_of_one_task_in_order() -> None:
    items = list(prepared(range(50), lambda task: ((task, part) for part in range(4)), threads=3, ahead=5))
    assert Counter(items) == Counter((task, part) for task in range(50) for part in range(4))
    for task in range(50):
        assert [part for one, part in items if one == task] == [0, 1, 2, 3]


def test_no_more_is_prepared_than_was_asked_for() -> None:
    made = []

    def prepare(task: int) -> Iterator[int]:
        made.append(task)
        yield task

    with closing(prepared(range(1000), prepare, threads=2, ahead=3)) as items:
        next(items)
        time.sleep(0.3)
        assert len(made) <= 1 + 3 + 2


@pytest.mark.parametrize("place", ["task", "item"])
def test_an_error_arrives_where_the_items_do(place: str) -> None:
    def tasks() -> Iterator[int]:
        yield 1
        if place == "task":
            raise ValueError("no more")
        yield 2

    def prepare(task: int) -> Iterator[int]:
        yield task
        if place == "item" and task == 2:
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(prepared(tasks(), prepare, threads=2, ahead=4))


def test_threads_end_when_nobody_wants_more() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    with closing(prepared(endless(), lambda task: iter([task]), threads=4, ahead=2)) as items:
        next(items)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare-")]
