"""What it costs to find nothing to do, with 10^3 to 10^5 versions that were scanned already.

    python -m benchmarks.scan_backlog --quick
    python -m benchmarks.scan_backlog --versions 1000000 --json results.json

Conversations are spread over the years as a household's are, a hundred a day, each with a transcript of WORDS words;
all were scanned but NEW. Timed are a scan's search for work, with its leases, and beside it the search that reads all
history (`full`): every head, joined with its scans. `commands` and `documents` are what the server was asked for and
gave. `first_round` is the search after an adapter was promoted, up to its first 100 versions.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from benchmarks.common import database_server, finish, parser, print_row
from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_SCANS, ensure_indexes
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.pending import HEAD, examine
from event_detection_pipeline.scan.work import Work

SIZES = (1_000, 10_000, 100_000)
QUICK_SIZES = (1_000, 5_000)
A_DAY = 100  # conversations
WORDS = 50
NEW = 20
FIRST = 100
NOW = datetime(2026, 11, 1, tzinfo=UTC)
_BATCH = 1_000


class Load(CommandListener):
    """Counts the commands of a client and the documents that came back."""

    def __init__(self) -> None:
        self.commands = self.documents = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.commands += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        cursor = event.reply.get("cursor", {})
        self.documents += len(cursor.get("firstBatch", cursor.get("nextBatch", [])))

    def failed(self, event: CommandFailedEvent) -> None: ...


def fill(database: Database[dict[str, Any]], count: int) -> None:
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


def search(database: Database[dict[str, Any]], adapter: str, limit: int | None) -> int:
    """What a scan does before it listens: the versions found, which are given back."""
    with Leases(database, [adapter]) as leases:
        found = list(Work(database, {"chime": adapter}, leases, limit))
        leases.finish(found)
    return len(found)


def full_search(database: Database[dict[str, Any]]) -> int:
    """What it costs without keeping progress."""
    pending, heads = 0, []
    for head in database[CONVERSATIONS].find({}, HEAD, batch_size=_BATCH):
        heads.append(head)
        if len(heads) == _BATCH:
            pending += len(examine(database, heads, ["chime_v1"]).pending)
            heads = []
    return pending + len(examine(database, heads, ["chime_v1"]).pending)


def run(uri: str, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """A row for each length of the history."""
    for size in sizes:
        load = Load()
        client: MongoClient[dict[str, Any]] = MongoClient(uri, event_listeners=[load])
        database = client[f"versions_{size}"]
        database[CONVERSATIONS].create_index("conversation_id", unique=True)
        # MongoDB finds a range of `_id` by the index that it always has; the embedded server needs one to be made.
        database[CONVERSATIONS].create_index([("_id", 1), ("conversation_id", 1)])
        ensure_indexes(database)
        begun = time.perf_counter()
        fill(database, size)
        filled = time.perf_counter() - begun

        def timed(function: Callable[[], int], load: Load = load) -> tuple[float, int, int, int]:
            load.commands = load.documents = 0
            begun = time.perf_counter()
            found = function()
            return time.perf_counter() - begun, found, load.commands, load.documents

        first_round = timed(lambda database=database: search(database, "chime_v2", FIRST))
        search(database, "chime_v1", None)  # its first round: after it, progress is known
        seconds, found, commands, documents = min(
            timed(lambda database=database: search(database, "chime_v1", None)) for _ in range(3)
        )
        full = timed(lambda database=database: full_search(database))
        assert found == full[1] == NEW, (found, full[1])
        client.drop_database(database.name)
        client.close()
        yield {
            "versions": size,
            "fill_s": round(filled, 1),
            "found": found,
            "search_s": round(seconds, 3),
            "commands": commands,
            "documents": documents,
            "first_round_s": round(first_round[0], 3),
            "full_s": round(full[0], 3),
            "full_documents": full[3],
        }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--versions", type=int, default=SIZES[-1], help=f"the longest history (default: {SIZES[-1]})")
    chosen = options.parse_args()
    sizes = QUICK_SIZES if chosen.quick else (*(size for size in SIZES if size < chosen.versions), chosen.versions)
    rows: list[dict[str, Any]] = []
    with database_server() as uri:
        for row in run(uri, sizes):
            rows.append(row)
            print_row(row)
    first, last = rows[0], rows[-1]
    ratios = {
        f"search_{last['versions']}_vs_{first['versions']}": round(last["search_s"] / first["search_s"], 2),
        f"documents_{last['versions']}_vs_{first['versions']}": round(last["documents"] / first["documents"], 2),
        "vs_full": round(last["full_s"] / last["search_s"], 1),
    }
    finish(rows, ratios, chosen.json)


if __name__ == "__main__":
    main()
