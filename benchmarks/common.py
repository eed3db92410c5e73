"""What all benchmarks share: a database server, a measurement in a process of its own, the table, the JSON result."""

import json
import multiprocessing
import os
import platform
import tempfile
import time
import uuid
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, connect

TEST_URI = "MONGODB_TEST_URI"
"""The variable that names the server to measure on, as it does for the tests."""

_SAMPLE_SECONDS = 0.25  # looking takes some 10 ms of a core that is being measured


def parser(description: str | None) -> ArgumentParser:
    """A command line with --quick and --json."""
    options = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="the same in small, to see that it runs")
    options.add_argument("--json", type=Path, help="write rows, ratios and machine here")
    return options


def measured(function: Callable[..., Any], *arguments: object) -> tuple[float, float, Any]:
    """Call a top-level function in a new process: seconds, peak memory of all its processes in MB, and its result."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, function, arguments))
    process.start()
    sender.close()
    tree, peak = psutil.Process(process.pid), 0
    while not receiver.poll(_SAMPLE_SECONDS) and process.is_alive():
        peak = max(peak, _memory(tree))
    try:
        seconds, result = receiver.recv()
    except EOFError:
        raise SystemExit(f"{function.__name__} failed") from None
    process.join()
    return seconds, peak / 2**20, result


@contextmanager
def database_server() -> Iterator[str]:
    """A MongoDB server as far from the measured process as Chronicle's is: in a process of its own. Its address."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run_database, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("stop")
        process.join(20)


@contextmanager
def given_server() -> Iterator[str]:
    """The server that TEST_URI names, or else `database_server`. For benchmarks that clean up behind themselves."""
    if uri := os.environ.get(TEST_URI):
        yield uri
    else:
        with database_server() as uri:
            yield uri


@contextmanager
def new_database(uri: str) -> Iterator[Database[dict[str, Any]]]:
    """An empty database, dropped at the end."""
    database = connect(uri, f"benchmark_{uuid.uuid4().hex}")
    try:
        yield database
    finally:
        database.client.drop_database(database.name)
        database.client.close()


def server_name(uri: str) -> str:
    """What serves there, such as "mongod 6.0.5"."""
    with MongoClient[dict[str, Any]](uri) as client:
        status = client.admin.command("serverStatus")
    return f"{Path(status['process']).name} {status['version']}"


def examined(uri: str) -> int | None:
    """How many documents the server has read for all queries so far; None where it does not count them."""
    with MongoClient[dict[str, Any]](uri) as client:
        metrics = client.admin.command("serverStatus").get("metrics", {})
    return metrics.get("queryExecutor", {}).get("scannedObjects")


def index_conversations(database: Database[dict[str, Any]]) -> None:
    """As Chronicle does; on the embedded server also by `_id`. MongoDB reads a stretch of ids by an index that it
    always has, the embedded one only by an index that was made."""
    database[CONVERSATIONS].create_index("conversation_id", unique=True)
    if "secantus" in database.client.admin.command("serverStatus"):
        database[CONVERSATIONS].create_index([("_id", 1), ("conversation_id", 1)])


def print_row(row: Mapping[str, Any]) -> None:
    """A row as soon as it is known: benchmarks take minutes."""
    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def finish(
    rows: Sequence[Mapping[str, Any]], ratios: Mapping[str, float], file: Path | None, server: str | None = None
) -> None:
    """Print the table and the headline, and write all of it, and what `server` they were measured on, to `file`."""
    if rows:
        print()
        print("| " + " | ".join(rows[0]) + " |")
        print("| " + " | ".join("---" for _ in rows[0]) + " |")
        for row in rows:
            print("| " + " | ".join(str(value) for value in row.values()) + " |")
    print("\n".join(f"{name}: {value}" for name, value in ratios.items()))
    if file:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
        if server:
            machine["server"] = server
        result = {"rows": list(rows), "ratios": dict(ratios), "machine": machine}
        file.write_text(json.dumps(result, indent=2) + "\n")


def _run_database(pipe: Connection) -> None:
    """Serve until something comes through the pipe."""
    from secantus import SecantusDBServer

    with tempfile.TemporaryDirectory() as folder, SecantusDBServer(storage_path=folder, cache_size="2G") as server:
        pipe.send(server.uri)
        pipe.recv()


def _measure(sender: Connection, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    start = time.perf_counter()
    result = function(*arguments)
    sender.send((time.perf_counter() - start, result))


def _memory(process: psutil.Process) -> int:
    """Bytes that the process and its children hold for themselves (USS: shared libraries do not count)."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            total += one.memory_full_info().uss
    return total
