"""The life of a process that does an operation: how it began, what it promised, how it ended."""

import multiprocessing
import resource
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Literal

import time_machine
from pymongo.errors import PyMongoError
from safetensors import SafetensorError

from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline_tests.faults.operations import OPERATIONS, Operation
from event_detection_pipeline_tests.faults.world import World
from event_detection_pipeline_tests.sudden_death import Fate

# Longer than any operation waits for a server, or takes on a machine that does twenty other things.
PATIENCE_SECONDS = 900.0

Ending = Literal["finished", "gave up", "died", "crashed", "hung"]

# One process imports everything once and forks the others: a case costs what its operation costs.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


@dataclass(frozen=True, slots=True)
class Ended:
    """How a life ended: `gave up` with an error for people, `crashed` with any other (`why` says which).

    Attributes:
        promised: what the operation told people.
        changes: how many it made, of files and of the database (None where it died).
        commands: how many of each name it sent to the database.
    """

    how: Ending
    why: str
    promised: tuple[str, ...]
    changes: int | None
    commands: Counter[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Clock:
    """What a process takes for the time of day, all in seconds: the right time and `ahead`, and after a while less."""

    ahead: float = 0.0
    jumps_after: float | None = None
    jumps_back: float = 0.0

    def start(self) -> None:
        """Set the clock of this process; waiting and time-outs go by another clock, which never jumps."""
        beginning = datetime.now(UTC) + timedelta(seconds=self.ahead)
        traveller = time_machine.travel(beginning).start()
        if self.jumps_after is not None:
            timer = threading.Timer(self.jumps_after, lambda: traveller.shift(-self.jumps_back))
            timer.daemon = True
            timer.start()


class Life:
    """A process that does an operation, started at once.

    Args:
        uri: where it finds the database, if not at the server itself.
        number: of two at once.
        dies_before: the change that it does not make any more.
        file_limit: bytes; no file can become larger, as on a full disk.
        clock: if not the right one.
    """

    def __init__(
        self,
        operation: Operation,
        world: World,
        *,
        uri: str | None = None,
        number: int = 0,
        dies_before: int | None = None,
        file_limit: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._pipe, there = _CONTEXT.Pipe(duplex=False)
        arguments = (there, operation.name, world, uri or world.uri, number, dies_before, file_limit, clock)
        self._process = _CONTEXT.Process(target=_live, args=arguments, daemon=True)
        self._process.start()
        there.close()
        self._pipe.poll(PATIENCE_SECONDS)  # the first one waits for all that is imported
        self._began = time.monotonic()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    @property
    def over(self) -> bool:
        return not self._process.is_alive()

    def end(self) -> Ended:
        """Wait for the end."""
        self._process.join(PATIENCE_SECONDS)
        hung = self._process.is_alive()
        if hung:
            self._process.kill()
            self._process.join()
        promised: list[str] = []
        how: Ending = "hung" if hung else "died"
        why, changes, commands = "", None, Counter[str]()
        while self._pipe.poll():
            try:
                kind, value, *done = self._pipe.recv()
            except EOFError:
                break
            if kind == "promised":
                promised.append(value)
            elif kind != "began":
                how, why, (changes, commands) = kind, value, done
        self._pipe.close()
        return Ended(how, why, tuple(promised), changes, commands, time.monotonic() - self._began)


def _live(
    pipe: Connection,
    name: str,
    world: World,
    uri: str,
    number: int,
    dies_before: int | None,
    file_limit: int | None,
    clock: Clock | None,
) -> None:
    if clock:
        clock.start()
    pipe.send(("began", ""))
    fate = Fate(dies_before)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    try:
        OPERATIONS[name].run(world, uri, number, lambda what: pipe.send(("promised", what)))
    except (PipelineError, PyMongoError, OSError, SafetensorError) as error:
        # What the command line tells people in one line.
        pipe.send(("gave up", f"{type(error).__name__}: {error}", fate.changes, fate.commands))
    except Exception as error:
        pipe.send(("crashed", f"{type(error).__name__}: {error}", fate.changes, fate.commands))
    else:
        pipe.send(("finished", "", fate.changes, fate.commands))
