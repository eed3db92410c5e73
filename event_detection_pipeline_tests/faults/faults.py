"""The faults: each lets an operation live, or two of them, and does something bad meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from event_detection_pipeline_tests.faults.life import Ended, Life
from event_detection_pipeline_tests.faults.operations import Operation
from event_detection_pipeline_tests.faults.server import Line, Server
from event_detection_pipeline_tests.faults.world import World, save_as_chronicle_does, say

# What a message to the server takes on a slow line, in seconds.
_SLOW_SECONDS = 0.02
# Messages in which an operation of these sizes talks to the server; beyond them a line breaks when all is said.
_MESSAGES = 60
_FILE_BYTES = 300_000  # no operation of these sizes writes a larger file
# What an operation may end with, if nothing killed it.
_LIVED = ("finished", "gave up")


@dataclass(frozen=True)
class Case:
    """An operation in its world, with what is known of its undisturbed life."""

    operation: Operation
    world: World
    server: Server
    undisturbed: Ended
    random: Random

    def moment(self) -> float:
        """Some time of its life, in seconds from its beginning."""
        return self.random.uniform(0, self.undisturbed.seconds)


@dataclass(frozen=True)
class Fault:
    """Something bad.

    Attributes:
        happens: returns how the lives ended.
        endings: which of them an operation may choose from.
    """

    name: str
    happens: Callable[[Case], list[Ended]]
    endings: tuple[str, ...]
    of_database: bool = False


def killed_between_changes(case: Case) -> list[Ended]:
    changes = case.undisturbed.changes or 0
    return [Life(case.operation, case.world, dies_before=case.random.randrange(changes)).end()]


def killed_anytime(case: Case) -> list[Ended]:
    life = Life(case.operation, case.world)
    time.sleep(case.moment())
    life.kill()
    return [life.end()]


def disk_full(case: Case) -> list[Ended]:
    limit = int(_FILE_BYTES ** case.random.random())
    return [Life(case.operation, case.world, file_limit=limit).end()]


def two_at_once(case: Case) -> list[Ended]:
    lives = [Life(case.operation, case.world, number=number) for number in range(2)]
    return [life.end() for life in lives]


def one_of_two_killed(case: Case) -> list[Ended]:
    first, second = (Life(case.operation, case.world, number=number) for number in (1, 0))
    time.sleep(case.moment())
    first.kill()
    return [first.end(), second.end()]


def database_down(case: Case) -> list[Ended]:
    case.server.stop()
    try:
        return [Life(case.operation, case.world).end()]
    finally:
        case.server.start()


def database_restarted(case: Case) -> list[Ended]:
    life = Life(case.operation, case.world)
    time.sleep(case.moment())
    case.server.stop()
    time.sleep(case.random.uniform(0, 1))
    case.server.start()
    return [life.end()]


def connection_lost(case: Case) -> list[Ended]:
    number, delivers = case.random.randrange(_MESSAGES), case.random.random() < 0.5
    with Line(case.server, breaks_at=number, delivers=delivers) as uri:
        return [Life(case.operation, case.world, uri=uri).end()]


def database_slow(case: Case) -> list[Ended]:
    with Line(case.server, delay=case.random.uniform(0, _SLOW_SECONDS)) as uri:
        return [Life(case.operation, case.world, uri=uri).end()]


def writes_refused(case: Case) -> list[Ended]:
    with case.server.refusing_writes(after=case.random.randrange(10)):
        return [Life(case.operation, case.world).end()]


def saved_by_chronicle(case: Case) -> list[Ended]:
    life = Life(case.operation, case.world)
    with _meanwhile(lambda: save_as_chronicle_does(case.world.open(), until=lambda: life.over)):
        return [life.end()]


def answered_meanwhile(case: Case) -> list[Ended]:
    life = Life(case.operation, case.world)
    time.sleep(case.moment())
    database = case.world.open()
    say(database, "c1", case.random.choice(["accepted", "rejected"]), "eve")
    database.client.close()
    return [life.end()]


@contextmanager
def _meanwhile(work: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


FAULTS = {
    one.name: one
    for one in (
        Fault("killed between changes", killed_between_changes, ("died", *_LIVED)),
        Fault("killed anytime", killed_anytime, ("died", *_LIVED)),
        Fault("disk full", disk_full, _LIVED),
        Fault("two at once", two_at_once, _LIVED),
        Fault("one of two killed", one_of_two_killed, ("died", *_LIVED)),
        Fault("database down", database_down, ("gave up",), of_database=True),
        Fault("database restarted", database_restarted, _LIVED, of_database=True),
        Fault("connection lost", connection_lost, _LIVED, of_database=True),
        Fault("database slow", database_slow, ("finished",), of_database=True),
        Fault("writes refused", writes_refused, _LIVED, of_database=True),
        Fault("saved by Chronicle", saved_by_chronicle, ("finished",), of_database=True),
        Fault("answered meanwhile", answered_meanwhile, ("finished",), of_database=True),
    )
}
