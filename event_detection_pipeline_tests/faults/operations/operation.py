"""What the runner knows of an operation."""

from collections.abc import Callable, Iterator
from typing import Protocol

from event_detection_pipeline_tests.faults.world import World


class Operation(Protocol):
    """Something the pipeline does that changes files or the database."""

    name: str
    uses_database: bool

    def prepare(self, world: World) -> None:
        """Make what it needs."""
        ...

    def run(self, world: World, uri: str, number: int, promise: Callable[[str], None]) -> None:
        """Do it, in a process that may die; doing it again finishes it.

        Args:
            uri: where the database is found: behind a bad line in some cases.
            number: 1 for the second of two at once, which may want something else; else 0.
            promise: called with what somebody was told has been done, and must be there from then on.
        """
        ...

    def broken(self, world: World, promised: list[str]) -> Iterator[str]:
        """What is wrong in a way that must never be, however the process ended."""
        ...

    def unfinished(self, world: World) -> Iterator[str]:
        """What is wrong after it was started again and ended well."""
        ...
