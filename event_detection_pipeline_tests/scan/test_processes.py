"""Scans as processes of their own: two at once, one that is killed, and a server that restarts under one."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from secantus import SecantusDBServer

from event_detection_pipeline.adapters.detector import Detector, Sketch, load_detectors
from event_detection_pipeline.chronicle.database import (
    CONVERSATIONS,
    EVENT_SCAN_LEASES,
    EVENT_SCANS,
    connect,
    ensure_indexes,
)
from event_detection_pipeline.config import ClipSettings, ScanSettings
from event_detection_pipeline.scan.scan import GROUP_BATCHES, ScanReport, scan
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.random_adapter import CPU, random_adapter
from event_detection_pipeline_tests.scan.documents import Db

ONE_AT_A_TIME = ScanSettings(batch_size=1)
CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def folder(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_adapter(tmp_path_factory.mktemp("adapters") / "chime_v1", base_model, threshold=1e-12)


class Slow(Detector):
    """A detector that takes its time, so that a test can come in between."""

    def __init__(self, detector: Detector, before_each: Callable[[], None]) -> None:
        super().__init__(detector.whisper, detector.model, detector.adapters)
        self._before_each = before_each

    def sketch(self, clips: Sequence[np.ndarray]) -> list[Sketch]:
        self._before_each()
        return super().sketch(clips)


def scan_in_process(uri: str, name: str, folder: Path, start: Connection, results: Connection) -> None:
    (detector,) = load_detectors([folder], CPU)
    results.send("ready")
    start.recv()
    results.send(run(connect(uri, name), Slow(detector, lambda: time.sleep(0.05))).scanned)


def run(database: Db, detector: Detector) -> ScanReport:
    return scan(database, [detector], ONE_AT_A_TIME, ClipSettings())


class Process:
    """A scan that has loaded its adapter and waits for the word to go."""

    def __init__(self, database: Db, folder: Path) -> None:
        host, port = database.client.address or ("", 0)
        waiting, self.start = CONTEXT.Pipe(duplex=False)
        self.results, sending = CONTEXT.Pipe(duplex=False)
        arguments = (f"mongodb://{host}:{port}", database.name, folder, waiting, sending)
        self.process = CONTEXT.Process(target=scan_in_process, args=arguments, daemon=True)
        self.process.start()

    def go(self) -> None:
        assert self.results.recv() == "ready"
        self.start.send("go")


def fill(database: Db, count: int) -> list[str]:
    ensure_indexes(database)
    return [add_conversation(database, seconds=1.0) for _ in range(count)]


def scanned_ids(database: Db) -> list[str]:
    return sorted(found["conversation_id"] for found in database[EVENT_SCANS].find())


def test_two_scans_at_once_share_the_work_and_scan_nothing_twice(database: Db, folder: Path) -> None:
    ids = fill(database, 60)
    scans = [Process(database, folder) for _ in range(2)]
    for one in scans:
        one.go()
    counts = [one.results.recv() for one in scans]
    assert sum(counts) == len(ids)
    assert all(counts), counts
    assert scanned_ids(database) == sorted(ids)
    assert database[EVENT_SCAN_LEASES].count_documents({}) == 0


def test_a_killed_scan_loses_what_it_had_in_work_and_the_next_one_takes_it_up(database: Db, folder: Path) -> None:
    ids = fill(database, 60)
    one = Process(database, folder)
    one.go()
    while database[EVENT_SCANS].count_documents({}) < 5:
        time.sleep(0.02)
    assert one.process.pid
    os.kill(one.process.pid, signal.SIGKILL)
    one.process.join()
    done = scanned_ids(database)
    held = database[EVENT_SCAN_LEASES].count_documents({})
    assert len(done) < len(ids)
    # Waiting decoded, being scored, being written, and what each thread has drawn.
    assert 0 < held <= 3 * GROUP_BATCHES + 16
    # An hour later.
    database[EVENT_SCAN_LEASES].update_many({}, {"$set": {"expires": datetime(2020, 1, 1, tzinfo=UTC)}})
    (detector,) = load_detectors([folder], CPU)
    assert run(database, detector).scanned == len(ids) - len(done)
    assert scanned_ids(database) == sorted(ids)
    flags = [document["transcript_versions"][0]["maybe_anomaly"] for document in database[CONVERSATIONS].find()]
    assert flags == [True] * len(ids)
    assert database[EVENT_SCAN_LEASES].count_documents({}) == 0


def test_a_server_that_restarts_under_a_scan_costs_it_some_time_only(folder: Path, tmp_path: Path) -> None:
    storage = str(tmp_path / "mongodb")
    server = SecantusDBServer(storage_path=storage)
    server.start()
    port = server.address[1]
    database = connect(server.uri, "chronicle")
    ids = fill(database, 30)
    listened = 0

    def restart_once() -> None:
        nonlocal listened, server
        listened += 1
        if listened == 10:
            server.stop()
            time.sleep(0.5)
            server = SecantusDBServer(port=port, storage_path=storage)
            server.start()

    try:
        (detector,) = load_detectors([folder], CPU)
        report = run(database, Slow(detector, restart_once))
        assert report.scanned == len(ids)
        assert scanned_ids(database) == sorted(ids)
        assert database[EVENT_SCAN_LEASES].count_documents({}) == 0
    finally:
        database.client.close()
        server.stop()
