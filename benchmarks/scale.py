"""What each part of a scan costs, and what workers gain that share one: the constants of docs/scaling.md.

    python -m benchmarks.scale --quick
    python -m benchmarks.scale --json results.json

Workers are processes with one thread each, as shards are; each has its model loaded before the clock starts (`ready`),
and the database server is a process of its own. Five kinds of work: `read` fetches the audio of all conversations and
does no more; `walk` is a scan that finds nothing new; `coordinate` is the whole scan of conversations without audio, so
that finding, leasing and writing remain; `listen` is the whole scan with a model that answers at once; `scan` is the
whole scan with tiny.en. Processor seconds are those of the workers, so that they count the same on a machine that does
other things too; commands are those to MongoDB. Where there are more workers than cores, what shows is the server.
"""

import logging
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import psutil
import torch
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
    register,
)

from benchmarks.common import database_server, finish, parser, print_row
from benchmarks.export import EVENT, add_entries
from event_detection_pipeline.adapters.detector import Detector, LoadedAdapter, Sketch, load_detectors
from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.adapters.seal import seal
from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS, connect, ensure_indexes
from event_detection_pipeline.config import ClipSettings, ScanSettings
from event_detection_pipeline.demo.base_model import ensure_base_model
from event_detection_pipeline_tests.random_adapter import random_adapter

LENGTHS = {60: 1}  # conversations of a minute; without audio there are more of them, because they cost so little
CONVERSATIONS, QUICK_CONVERSATIONS = 24, 8
EMPTY, QUICK_EMPTY = 200, 100
RUNS = (("read", (1,)), ("walk", (1, 2)), ("coordinate", (1, 2, 4, 8)), ("listen", (1, 2)), ("scan", (1, 2)))
QUICK_RUNS = (("read", (1,)), ("walk", (1,)), ("coordinate", (1, 2)), ("listen", (1,)), ("scan", (1, 2)))
WITHOUT_AUDIO = ("walk", "coordinate")
_READY_SECONDS = 300


@dataclass(frozen=True)
class Done:
    """What one worker did: seconds of audio, processor seconds (also those until it was ready), bytes it fetched,
    commands it sent."""

    versions: int
    audio_seconds: float
    processor_seconds: float
    ready_seconds: float
    fetched: int
    commands: int


class Commands(CommandListener):
    """Counts what is sent to the server."""

    def __init__(self) -> None:
        self.sent = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.sent += 1

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


class Instant(Detector):
    """A detector that has heard nothing, at once."""

    def sketch(self, clips: Sequence[np.ndarray]) -> list[Sketch]:
        return [Sketch(torch.empty(0), {})] * len(clips)

    def hear(
        self, adapter: LoadedAdapter, sketches: Sequence[Sketch], transcripts: Sequence[Sequence[str]]
    ) -> list[ClipScore]:
        return [ClipScore(0.0, 0)] * len(sketches)


def worker(kind: str, uri: str, name: str, adapter: Path, start: Barrier, done: "Queue[Done]") -> None:
    """Get ready, wait for the others, work."""
    from event_detection_pipeline.adapters.device import Compute
    from event_detection_pipeline.scan.scan import scan

    logging.getLogger("event_detection_pipeline").setLevel(logging.ERROR)  # that there is no audio is the intention
    torch.set_num_threads(1)
    (detector,) = load_detectors([adapter], Compute(torch.device("cpu"), torch.float32))
    if kind != "scan":
        detector = Instant(detector.whisper, detector.model, detector.adapters)
    commands = Commands()
    register(commands)
    database = connect(uri, name)
    ready = time.process_time()
    start.wait()
    before, sent = time.process_time(), commands.sent
    audio, versions, fetched = 0.0, 0, 0
    if kind == "read":
        for chunk in database[AUDIO_CHUNKS].find({}, {"audio_data": 1, "duration": 1}):
            audio, fetched = audio + chunk["duration"], fetched + len(chunk["audio_data"])
    else:
        report = scan(database, [detector], ScanSettings(batch_size=1), ClipSettings())
        audio, versions = report.seconds, report.scanned
    done.put(Done(versions, audio, time.process_time() - before, ready, fetched, commands.sent - sent))


def together(kind: str, uri: str, name: str, adapter: Path, workers: int) -> tuple[float, list[Done]]:
    """Seconds from the moment all are ready until the last is done, and what each did."""
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(workers + 1), context.Queue()
    processes = [context.Process(target=worker, args=(kind, uri, name, adapter, start, done)) for _ in range(workers)]
    for process in processes:
        process.start()
    start.wait(_READY_SECONDS)
    begun = time.perf_counter()
    results = [_next(done, processes) for _ in processes]
    seconds = time.perf_counter() - begun
    for process in processes:
        process.join()
    return seconds, results


def _next(done: "Queue[Done]", processes: Sequence[BaseProcess]) -> Done:
    while True:
        with suppress(Empty):
            return done.get(timeout=1)
        if any(process.exitcode for process in processes):
            raise SystemExit("a worker failed")


def server_seconds(server: psutil.Process) -> float:
    """Of the processor, since the database server began."""
    times = server.cpu_times()
    return times.user + times.system


def run(kind: str, uri: str, server: psutil.Process, adapter: Path, workers: int, conversations: int) -> dict[str, Any]:
    """So many workers on a household of their own; what they did together."""
    name = f"{kind}_{workers}"
    database = connect(uri, name)
    ensure_indexes(database)
    add_entries(database, 0, conversations, LENGTHS)
    if kind in WITHOUT_AUDIO:
        database[AUDIO_CHUNKS].delete_many({})
    if kind == "walk":
        together("coordinate", uri, name, adapter, 1)
    before = server_seconds(server)
    seconds, results = together(kind, uri, name, adapter, workers)
    server_took = server_seconds(server) - before
    database.client.drop_database(name)
    scanned = sum(one.versions for one in results)
    if scanned != (0 if kind in ("read", "walk") else conversations):
        raise AssertionError(f"{kind}: {scanned} versions of {conversations} were scanned")
    # Each worker walks past all conversations; what there is to do it shares with the others.
    versions = conversations * (workers if kind == "walk" else 1)
    hours = sum(one.audio_seconds for one in results) / 3600
    processor = sum(one.processor_seconds for one in results)
    return {
        "work": kind,
        "workers": workers,
        "versions": versions,
        "seconds": round(seconds, 2),
        "versions_per_s": round(versions / seconds, 1),
        "times_real_time": round(hours * 3600 / seconds) if hours else "",
        "processor_s_per_audio_h": round(processor / hours, 2) if hours else "",
        "processor_ms_per_version": round(1000 * processor / versions, 2),
        "server_ms_per_version": round(1000 * server_took / versions, 2),
        "commands_per_version": round(sum(one.commands for one in results) / versions, 2),
        "mb_per_audio_h": round(sum(one.fetched for one in results) / 1e6 / hours, 2) if kind == "read" else "",
        "ready_processor_s": round(max(one.ready_seconds for one in results), 1),
    }


def rows(quick: bool, uri: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each kind of work and number of workers."""
    adapter = random_adapter(folder / f"{EVENT.name}_v1", ensure_base_model(folder / "whisper-tiny.en"))
    seal(adapter)
    # The other child of this process, multiprocessing's resource tracker, has done next to nothing.
    server = max(psutil.Process().children(), key=server_seconds)
    for kind, numbers in QUICK_RUNS if quick else RUNS:
        with_audio, empty = (QUICK_CONVERSATIONS, QUICK_EMPTY) if quick else (CONVERSATIONS, EMPTY)
        for workers in numbers:
            yield run(kind, uri, server, adapter, workers, empty if kind in WITHOUT_AUDIO else with_audio)


def ratios(found: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The headline: what the second worker brings, and what a scan costs beside the model."""
    rates = {(row["work"], row["workers"]): row["versions"] / row["seconds"] for row in found}
    cost = {row["work"]: row["processor_s_per_audio_h"] for row in found if row["workers"] == 1}
    return {
        "scan_2_vs_1_workers": round(rates["scan", 2] / rates["scan", 1], 2),
        "coordinate_2_vs_1_workers": round(rates["coordinate", 2] / rates["coordinate", 1], 2),
        "listen_share_of_scan": round(cost["listen"] / cost["scan"], 3),
    }


def main() -> None:
    options = parser(__doc__).parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, database_server() as uri:
        for row in rows(options.quick, uri, Path(folder)):
            found.append(row)
            print_row(row)
    finish(found, ratios(found), options.json)


if __name__ == "__main__":
    main()
