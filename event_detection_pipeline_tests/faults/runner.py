"""The runner: seeded cases, one after the other, and what was broken in them."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, cycle
from pathlib import Path
from random import Random

from event_detection_pipeline_tests.faults.faults import FAULTS, Case, Fault, killed_before
from event_detection_pipeline_tests.faults.life import Ended, Life
from event_detection_pipeline_tests.faults.models import make_models
from event_detection_pipeline_tests.faults.operations import OPERATIONS, Operation
from event_detection_pipeline_tests.faults.operations.training import undisturbed
from event_detection_pipeline_tests.faults.server import Line, Server
from event_detection_pipeline_tests.faults.world import World


@dataclass(frozen=True, slots=True)
class Result:
    """A case, how its lives ended, and which promises were broken."""

    seed: int
    operation: str
    fault: str
    endings: tuple[Ended, ...]
    violations: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of its longest life."""
        return max(ended.seconds for ended in self.endings)


@dataclass
class Matrix:
    """Where cases are run: a server, and the models that all of them share."""

    folder: Path
    server: Server
    _lives: dict[str, tuple[Ended, int]] = field(default_factory=dict)

    def run(self, operation: Operation, fault: Fault, seed: int) -> Result:
        """Let the fault happen, look, start the operation again, and look again."""
        random = Random(f"{seed} {operation.name} {fault.name}")
        case = Case(operation, self._world(operation, seed), self.server, *self._undisturbed(operation), random)
        endings = fault.happens(case)
        violations = [
            f"an operation {ended.how} {ended.why}".rstrip() for ended in endings if ended.how not in fault.endings
        ]
        violations += self._after(case, endings)
        return Result(seed, operation.name, fault.name, tuple(endings), tuple(violations))

    def sweep(self, operation: Operation, seed: int) -> Iterator[Result]:
        """Kill it before its first change, before its second, and so on, until one life makes all of them."""
        for change in count():
            result = self.run(operation, killed_before(change), seed)
            where = tuple(f"before change {change}: {violation}" for violation in result.violations)
            yield replace(result, violations=where)
            if not any(ended.how == "died" for ended in result.endings):
                return

    def _after(self, case: Case, endings: Sequence[Ended]) -> Iterator[str]:
        operation, world = case.operation, case.world
        yield from operation.broken(world, [what for ended in endings for what in ended.promised])
        again = Life(operation, world).end()
        if again.how != "finished":
            yield f"started again it {again.how} {again.why}"
            return
        yield from operation.broken(world, list(again.promised))
        yield from operation.unfinished(world)
        if operation.uses_database:
            database = world.open()
            database.client.drop_database(world.name)
            database.client.close()

    def _undisturbed(self, operation: Operation) -> tuple[Ended, int]:
        """Its life without a fault, and in how many messages it talked to the server."""
        if operation.name not in self._lives:
            world = self._world(operation, 0)
            if operation.name == "training":
                undisturbed(world)
            with Line(self.server.port) as line:
                ended = Life(operation, world, uri=line.uri).end()
            wrong = [*operation.broken(world, list(ended.promised)), *operation.unfinished(world)]
            assert ended.how == "finished" and not wrong, f"{operation.name} undisturbed: {ended} {wrong}"
            self._lives[operation.name] = ended, line.messages
        return self._lives[operation.name]

    def _world(self, operation: Operation, seed: int) -> World:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        world = World(folder, self.folder / "models", self.server.uri, folder.name, seed)
        operation.prepare(world)
        return world


@contextmanager
def matrix(folder: Path) -> Iterator[Matrix]:
    """A place to run cases in, below a folder."""
    models = folder / "models"
    if not models.is_dir():
        make_models(models)
    with Server(folder / "mongodb") as server:
        yield Matrix(folder, server)


def applies(operation: Operation, fault: Fault) -> bool:
    """Whether this fault can meet that operation."""
    if fault.name == "answered meanwhile":
        return operation.name in ("scan", "export")
    return operation.uses_database or not fault.of_database


def cases(seed: int, operation: str | None, fault: str | None) -> Iterator[tuple[Operation, Fault, int]]:
    """What is tried, in turn and without an end: every fault that can meet every operation, with ever new seeds.

    Nothing, where the fault cannot meet the operation.

    A training takes seconds where the others take parts of one: it has every tenth turn of its own.
    """
    pairs = [
        (one, bad)
        for one in OPERATIONS.values()
        for bad in FAULTS.values()
        if applies(one, bad) and operation in (None, one.name) and fault in (None, bad.name)
    ]
    long = [pair for pair in pairs if pair[0].name == "training"]
    short = [pair for pair in pairs if pair not in long]
    turns = [cycle(short or long), cycle(long or short)]
    for number in count() if pairs else ():
        yield *next(turns[number % 10 == 9]), seed + number


def summary(results: Sequence[Result]) -> str:
    """A table of operations and faults: cases tried, and how they ended."""
    lines = ["| operation | fault | cases | how they ended | violations |", "| --- | --- | ---: | --- | ---: |"]
    for (operation, fault), group in _grouped(results).items():
        ends = Counter(ended.how for result in group for ended in result.endings)
        how = ", ".join(f"{count} {end}" for end, count in ends.most_common())
        broken = sum(bool(result.violations) for result in group)
        lines.append(f"| {operation} | {fault} | {len(group)} | {how} | {broken} |")
    broken = sum(bool(result.violations) for result in results)
    longest = max(results, key=lambda result: result.seconds)
    lines.append(
        f"{len(results)} cases, {broken} with violations; the longest life took {longest.seconds:.0f} s "
        f"(seed {longest.seed}, {longest.operation}, {longest.fault})"
    )
    return "\n".join(lines)


def _grouped(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.operation, result.fault), []).append(result)
    return groups
