"""What it costs to find 20 new versions behind a history of 10^3 to 10^6 versions that were scanned already.

    python -m benchmarks.scan_backlog --quick
    MONGODB_TEST_URI=mongodb://127.0.0.1:27018 python -m benchmarks.scan_backlog --versions 1000000 --json results.json

Each version is the only one of its conversation: of all histories of that length the hardest to walk over. They spread
over years as a household's do, a hundred a day, each with a transcript of WORDS words. Timed are a scan's search for
work, with its leases, and beside it the search that reads all history (`full`): every head, joined with its scans. Of
the search `commands`, `documents` and `kb` are what the server was asked, what it gave, and the kilobytes of both;
`examined` is how many documents it read for that, where it says so (MongoDB does, the embedded server does not).
`first_round` is the search after an adapter was promoted, up to its first 100 versions; `walk` the way through the
whole history, which scans take in turns, once after each promotion.

A long history takes a MongoDB server (MONGODB_TEST_URI) that nothing else uses meanwhile: the embedded one reads whole
collections where MongoDB reads an index.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import bson
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from benchmarks.common import (
    examined,
    finish,
    given_server,
    index_conversations,
    new_database,
    parser,
    print_row,
    server_name,
)
from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_SCANS, ensure_indexes
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.pending import HEAD, examine
from event_detection_pipeline.scan.work import Work

Db = Database[dict[str, Any]]

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 5_000)
A_DAY = 100  # conversations
WORDS = 50
NEW = 20
FIRST = 100
NOW = datetime(2026, 11, 1, tzinfo=UTC)
_BATCH = 1_000


class Load(CommandListener):
    """Counts the commands of a client, the documents that came back, and the bytes of both."""

    def __init__(self) -> None:
        self.commands = self.documents = self.bytes = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.commands += 1
        self.bytes += len(bson.encode(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        cursor = event.reply.get("cursor", {})
        self.documents += len(cursor.get("firstBatch", cursor.get("nextBatch", [])))
        self.bytes += len(bson.encode(event.reply))

    def failed(self, event: CommandFailedEvent) -> None: ...


@dataclass(frozen=True, slots=True)
class Cost:
    """What a search took, of the client and of the server; `examined` is None where the server does not say."""

    seconds: float
    found: int
    commands: int
    documents: int
    kb: float
    examined: int | None


def fill(database: Db, count: int) -> None:
    """`count` conversations, the newest NOW, all scanned by chime_v1 but the NEW last ones; first the oldest."""
    words = [{"word": "morning", "start": second / 2, "end": second / 2 + 0.4} for second in range(WORDS)]
    for first in range(0, count, _BATCH):
        conversations, scans = [], []
        for number in range(first, min(first + _BATCH, count)):
            made = NOW - timedelta(days=(count - number) / A_DAY)
            id_, version_id = f"conversation-{number}", f"version-{number}"
            version = {"version_id": version_id, "transcript": "morning " * WORDS, "words": words}
            scanned = number < count - NEW
            conversations.append(
                {
                    "_id": ObjectId(ObjectId.from_datetime(made).binary[:4] + number.to_bytes(8)),
                    "conversation_id": id_,
                    "created_at": made,
                    "active_transcript_version": version_id,
                    "transcript_versions": [version | {"maybe_anomaly": False if scanned else None}],
                }
            )
            if scanned:
                key = {"conversation_id": id_, "version_id": version_id, "event": "chime", "adapter": "chime_v1"}
                scans.append(key | {"score": 0.01, "threshold": 0.5, "flagged": False, "scanned_at": made})
        database[CONVERSATIONS].insert_many(conversations, ordered=False)
        if scans:
            database[EVENT_SCANS].insert_many(scans, ordered=False)


def search(database: Db, adapter: str, limit: int | None) -> int:
    """What a scan does before it listens: the versions found, which are given back."""
    with Leases(database, [adapter]) as leases:
        found = list(Work(database, {"chime": adapter}, leases, limit))
        leases.finish(found)
    return len(found)


def full_search(database: Db) -> int:
    """What it costs without keeping progress."""
    pending, heads = 0, []
    for head in database[CONVERSATIONS].find({}, HEAD, batch_size=_BATCH):
        heads.append(head)
        if len(heads) == _BATCH:
            pending += len(examine(database, heads, ["chime_v1"]).pending)
            heads = []
    return pending + len(examine(database, heads, ["chime_v1"]).pending)


def cost(uri: str, name: str, search: Callable[[Db], int]) -> Cost:
    """Search as a client of its own that counts."""
    load, read = Load(), examined(uri)
    with MongoClient[dict[str, Any]](uri, event_listeners=[load]) as client:
        begun = time.perf_counter()
        found = search(client[name])
        seconds = time.perf_counter() - begun
        counted = load.commands, load.documents, load.bytes / 1000
    read_now = examined(uri)
    return Cost(seconds, found, *counted, None if read is None or read_now is None else read_now - read)


def run(uri: str, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """A row for each length of the history."""
    for size in sizes:
        with new_database(uri) as database:
            begun = time.perf_counter()
            prepare(database, size)
            prepared = time.perf_counter() - begun
            measure = partial(cost, uri, database.name)
            first_round = measure(lambda database: search(database, "chime_v2", FIRST))
            walk = measure(lambda database: search(database, "chime_v1", None))
            later = [measure(lambda database: search(database, "chime_v1", None)) for _ in range(3)]
            full = measure(full_search)
        fastest = min(later, key=lambda one: one.seconds)
        assert walk.found == fastest.found == full.found == NEW, (walk, fastest, full)
        yield {
            "versions": size,
            "prepared_s": round(prepared, 1),
            "found": fastest.found,
            "search_s": round(fastest.seconds, 3),
            "commands": fastest.commands,
            "documents": fastest.documents,
            "kb": round(fastest.kb),
            "examined": fastest.examined,
            "first_round_s": round(first_round.seconds, 3),
            "walk_s": round(walk.seconds, 1),
            "full_s": round(full.seconds, 2),
            "full_documents": full.documents,
            "full_kb": round(full.kb),
        }


def prepare(database: Db, size: int) -> None:
    """A history with the indexes that Chronicle and we have."""
    index_conversations(database)
    ensure_indexes(database)
    fill(database, size)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--versions", type=int, default=10_000, help="the longest history (default: 10000)")
    chosen = options.parse_args()
    sizes = QUICK_SIZES if chosen.quick else (*(size for size in SIZES if size < chosen.versions), chosen.versions)
    rows: list[dict[str, Any]] = []
    with given_server() as uri:
        server = server_name(uri)
        print(server)
        for row in run(uri, sizes):
            rows.append(row)
            print_row(row)
    first, last = rows[0], rows[-1]
    compared = f"{last['versions']}_vs_{first['versions']}"
    ratios = {
        f"{name}_{compared}": round(last[name] / first[name], 2)
        for name in ("search_s", "commands", "documents", "kb", "examined")
        if first[name]
    }
    ratios["vs_full"] = round(last["full_s"] / last["search_s"], 1)
    finish(rows, ratios, chosen.json, server)


if __name__ == "__main__":
    main()
