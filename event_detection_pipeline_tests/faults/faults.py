"""The faults: each lets an operation live, or two of them, and does something bad meanwhile."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from event_detection_pipeline_tests.faults.life import Clock, Ended, Life
from event_detection_pipeline_tests.faults.operations import Operation
from event_detection_pipeline_tests.faults.server import READS, WRITES, Line, Server, uri_of
from event_detection_pipeline_tests.faults.world import World, save_as_chronicle_does, say

# What a message to the server takes on a slow line, in seconds.
_SLOW_SECONDS = 0.02
# How long an operation waits here for a reply: `socketTimeoutMS`, a second instead of REPLY_SECONDS.
_IMPATIENT = "/?socketTimeoutMS=1000"
_LONGEST_JUMP_SECONDS = 400 * 24 * 3600  # of a clock without a battery, until it has asked the network
# What a server refuses with: Unauthorized, NotWritablePrimary, PrimarySteppedDown, OutOfDiskSpace.
_REFUSALS = (13, 10107, 189, 14031)
_FILE_BYTES = 300_000  # no operation of these sizes writes a larger file
# What an operation may end with, if nothing killed it.
_LIVED = ("finished", "gave up")


@dataclass(frozen=True)
class Case:
    """An operation in its world, with what is known of its undisturbed life.

    Attributes:
        messages: in which it then talked to the server.
    """

    operation: Operation
    world: World
    server: Server
    undisturbed: Ended
    messages: int
    random: Random

    def moment(self) -> float:
        """Some time of its life, in seconds from its beginning."""
        return self.random.uniform(0, self.undisturbed.seconds)

    def message(self) -> int:
        """The number of one of them."""
        return self.random.randrange(self.messages)

    @contextmanager
    def refused(self, commands: Sequence[str]) -> Iterator[None]:
        """From some of its commands on the server refuses all of these kinds."""
        after = self.random.randrange(sum(self.undisturbed.commands[name] for name in commands) or 1)
        with self.server.refusing(commands, after=after, code=self.random.choice(_REFUSALS)):
            yield

    def jump(self) -> float:
        """By how much a clock is wrong, in seconds: as often by less than a quarter of an hour as by more."""
        little, much = self.random.uniform(0, 900), self.random.uniform(900, _LONGEST_JUMP_SECONDS)
        return self.random.choice([little, much])


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


def killed_before(change: int) -> Fault:
    """Killed before the change of this number, from 0."""

    def happens(case: Case) -> list[Ended]:
        return [Life(case.operation, case.world, dies_before=change).end()]

    return Fault("killed before every change", happens, ("died", "finished"))


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
    return _without_server(case, case.server.stop)


def database_killed(case: Case) -> list[Ended]:
    case.server.flush()
    return _without_server(case, case.server.kill)


def _without_server(case: Case, end: Callable[[], None]) -> list[Ended]:
    life = Life(case.operation, case.world)
    time.sleep(case.moment())
    end()
    time.sleep(case.random.uniform(0, 1))
    case.server.start()
    return [life.end()]


def database_silent(case: Case) -> list[Ended]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = uri_of(silent.getsockname()[1])
        return [Life(case.operation, case.world, uri=uri + _IMPATIENT).end()]


def reply_missing(case: Case) -> list[Ended]:
    number, delivers = case.message(), case.random.random() < 0.5
    with Line(case.server.port, breaks_at=number, delivers=delivers, silently=True) as line:
        return [Life(case.operation, case.world, uri=line.uri + _IMPATIENT).end()]


def password_wrong(case: Case) -> list[Ended]:
    uri = case.server.uri.replace("//", "//somebody:wrong@")
    return [Life(case.operation, case.world, uri=uri).end()]


def connection_lost(case: Case) -> list[Ended]:
    number, delivers = case.message(), case.random.random() < 0.5
    with Line(case.server.port, breaks_at=number, delivers=delivers) as line:
        return [Life(case.operation, case.world, uri=line.uri).end()]


def database_slow(case: Case) -> list[Ended]:
    with Line(case.server.port, delay=case.random.uniform(0, _SLOW_SECONDS)) as line:
        return [Life(case.operation, case.world, uri=line.uri).end()]


def writes_refused(case: Case) -> list[Ended]:
    with case.refused(WRITES):
        return [Life(case.operation, case.world).end()]


def everything_refused(case: Case) -> list[Ended]:
    with case.refused(READS + WRITES):
        return [Life(case.operation, case.world).end()]


def saved_by_chronicle(case: Case) -> list[Ended]:
    life = Life(case.operation, case.world)
    with _meanwhile(lambda: save_as_chronicle_does(case.world.open(), until=lambda: life.over)):
        return [life.end()]


def two_saved_by_chronicle(case: Case) -> list[Ended]:
    lives = [Life(case.operation, case.world, number=number) for number in range(2)]
    with _meanwhile(lambda: save_as_chronicle_does(case.world.open(), until=lambda: all(life.over for life in lives))):
        return [life.end() for life in lives]


def clock_set_back(case: Case) -> list[Ended]:
    """Either it was ahead and is right from some moment on, or it was right and is behind."""
    by = case.jump()
    clock = Clock(ahead=case.random.choice([by, 0.0]), jumps_after=case.moment(), jumps_back=by)
    return [Life(case.operation, case.world, clock=clock).end()]


def killed_with_clock_ahead(case: Case) -> list[Ended]:
    life = Life(case.operation, case.world, clock=Clock(ahead=case.jump()))
    time.sleep(case.moment())
    life.kill()
    return [life.end()]


def two_with_different_clocks(case: Case) -> list[Ended]:
    clocks = [Clock(), Clock(ahead=-case.jump())]
    lives = [Life(case.operation, case.world, number=number, clock=clock) for number, clock in enumerate(clocks)]
    return [life.end() for life in lives]


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
        Fault("clock set back", clock_set_back, ("finished",)),
        Fault("killed with the clock ahead", killed_with_clock_ahead, ("died", *_LIVED)),
        Fault("two with different clocks", two_with_different_clocks, _LIVED),
        Fault("database down", database_down, ("gave up",), of_database=True),
        Fault("database silent", database_silent, ("gave up",), of_database=True),
        Fault("database restarted", database_restarted, _LIVED, of_database=True),
        Fault("database killed", database_killed, _LIVED, of_database=True),
        Fault("database slow", database_slow, ("finished",), of_database=True),
        Fault("connection lost", connection_lost, _LIVED, of_database=True),
        Fault("reply missing", reply_missing, _LIVED, of_database=True),
        Fault("password wrong", password_wrong, ("gave up",), of_database=True),
        Fault("writes refused", writes_refused, _LIVED, of_database=True),
        Fault("everything refused", everything_refused, _LIVED, of_database=True),
        Fault("saved by Chronicle", saved_by_chronicle, ("finished",), of_database=True),
        Fault("two at once, saved by Chronicle", two_saved_by_chronicle, ("finished",), of_database=True),
        Fault("answered meanwhile", answered_meanwhile, ("finished",), of_database=True),
    )
}
