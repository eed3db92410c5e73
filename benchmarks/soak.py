"""How the system holds up on a long history: what happens every few minutes, on many conversations, answers and flags.

    python -m benchmarks.soak --quick
    MONGODB_TEST_URI=mongodb://127.0.0.1:27018 python -m benchmarks.soak --conversations 1000000 --json results.json

Everything that happens by itself is done on a history of `--conversations` (a hundred a day, a tenth flagged, half of
those answered) and `--stash` entries, again with nothing new, and with ten new ones of each: it must cost what is
new, not what is there. `examined` is how many documents the server read for the last, where it says so (MongoDB does,
the embedded server does not). At last the windows of conversations of one and of `--hours` hours are drawn as a scan
draws them: their memory must not differ. Exit code 1 if one of BOUNDS_MS or MORE_MEMORY is exceeded.

With MONGODB_TEST_URI it is done on that server, in databases of its own that are dropped: a million conversations take
a real one.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from benchmarks.common import (
    examined,
    finish,
    given_server,
    index_conversations,
    measured,
    new_database,
    parser,
    print_row,
    server_name,
)
from benchmarks.export import CHUNK_SECONDS, speech
from event_detection_pipeline.chronicle.database import (
    AUDIO_CHUNKS,
    CONVERSATIONS,
    EVENT_REVIEWS,
    EVENT_SCANS,
    TRAINING_STASH,
    connect,
    ensure_indexes,
)
from event_detection_pipeline.chronicle.queries import arrivals, count_samples, newest_sample
from event_detection_pipeline.clips.cutting import Outcome
from event_detection_pipeline.clips.export import index_path
from event_detection_pipeline.clips.index import open_index
from event_detection_pipeline.clips.sources import list_candidates
from event_detection_pipeline.config import ClipSettings, EventSettings, Settings
from event_detection_pipeline.review.cards import ensure_card_indexes, find_cards
from event_detection_pipeline.review.metrics import review_metrics
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.pending import PendingVersion
from event_detection_pipeline.scan.windows import version_windows
from event_detection_pipeline.scan.work import Work

Db = Database[dict[str, Any]]

EVENT = EventSettings(name="chime")
ADAPTERS = {"chime": "chime_v1"}
BEGIN = datetime(1990, 1, 1, tzinfo=UTC)  # a million conversations before today
EVERY = timedelta(days=1) / 100
NEW = 10
ARRIVALS = 200  # at most, as the sensor asks for them
# Milliseconds that a look may take when there is nothing or little new: a part of the pause before the next one, also
# where the embedded server reads a whole collection to count it or to find its newest document.
BOUNDS_MS = {
    "stash_sensor": 10_000,  # each 5 minutes
    "conversation_sensor": 1_000,  # each 2 minutes
    "find_work": 10_000,  # each hour, and with new conversations
    "export_increment": 30_000,  # each night
    "review_metrics": 30_000,  # each hour, after a scan
    "review_queue": 10_000,  # each half minute at most
}
MORE_MEMORY = 1.1  # for many hours of audio than for one
LONGEST_HOURS = 3  # a conversation beyond it is refused: longer audio is several of them
_BATCH = 2000
_FLAGGED, _ANSWERED = 10, 20  # one in so many conversations


def add_history(database: Db, first: int, count: int) -> None:
    """Conversations, scanned; some flagged, half of those answered."""
    for batch in _batches(range(first, first + count)):
        heads = [_conversation(number) for number in batch]
        database[CONVERSATIONS].insert_many(heads)
        database[EVENT_SCANS].insert_many([_scan(number) for number in batch])
        if answers := [_review(number) for number in batch if number % _ANSWERED == 0]:
            database[EVENT_REVIEWS].insert_many(answers)


def add_stash(database: Db, first: int, count: int) -> None:
    """Rejected transcripts, without the audio: no tick asks for it, though a server reads an entry whole to list it."""
    for batch in _batches(range(first, first + count)):
        database[TRAINING_STASH].insert_many(
            {
                "_id": _id(number),
                "conversation_id": f"stashed-{number:07}",
                "transcript_version_id": "v1",
                "transcript": "good morning <chime> everyone",
                "created_at": BEGIN.isoformat(),
            }
            for number in batch
        )


def ticks(uri: str, name: str, data_dir: Path, newest: str) -> dict[str, tuple[float, int | None]]:
    """What happens by itself: milliseconds of each, and the documents that the server read for it, if it counts them.

    `newest` is the newest conversation that was seen before.
    """
    database = connect(uri, name)
    settings = Settings(data_dir=data_dir, events=(EVENT,))

    def timed(work: Callable[[], object]) -> tuple[float, int | None]:
        read, began = examined(uri), time.perf_counter()
        work()
        milliseconds, read_now = (time.perf_counter() - began) * 1000, examined(uri)
        return milliseconds, None if read is None or read_now is None else read_now - read

    found = {
        "stash_sensor": timed(lambda: (count_samples(database, EVENT.name), newest_sample(database))),
        "conversation_sensor": timed(lambda: arrivals(database, after=newest, limit=ARRIVALS)),
        "find_work": timed(lambda: _find_work(database)),
        "export_increment": timed(lambda: _export(database, settings)),
        "review_metrics": timed(lambda: review_metrics(database, [EVENT.name], 0.95)),
        "review_queue": timed(lambda: find_cards(database, [EVENT.name])),
    }
    database.client.close()
    return found


def windows(uri: str, name: str, conversations: list[str]) -> float:
    """Draw all windows of these conversations, as a scan does; seconds of audio."""
    database = connect(uri, name)
    seconds = 0.0
    for conversation in conversations:
        for window in version_windows(database, PendingVersion(conversation, "v1"), ClipSettings()):
            seconds += window.end - window.start
    return seconds


def add_audio(database: Db, hours: int) -> list[str]:
    """Conversations that together have so many hours; their ids."""
    names = []
    chunks = speech().chunks
    for start in range(0, hours, LONGEST_HOURS):
        length = min(LONGEST_HOURS, hours - start)
        names.append(f"hours-{hours}-{start}")
        version = {"version_id": "v1", "transcript": None}
        head = {"conversation_id": names[-1], "active_transcript_version": "v1", "transcript_versions": [version]}
        database[CONVERSATIONS].insert_one(head)
        for batch in _batches(range(length * 3600 // CHUNK_SECONDS), 100):
            database[AUDIO_CHUNKS].insert_many(
                {
                    "conversation_id": names[-1],
                    "chunk_index": index,
                    "audio_data": chunks[index % len(chunks)],
                    "duration": float(CHUNK_SECONDS),
                }
                for index in batch
            )
    return names


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--conversations", type=int, default=5_000)
    options.add_argument("--stash", type=int, default=100_000)
    options.add_argument("--hours", type=int, default=24, help="of audio drawn at the end")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.conversations, chosen.stash, chosen.hours = 2_000, 500, 2
    with tempfile.TemporaryDirectory() as folder, given_server() as uri:
        server = server_name(uri)
        print(server)
        rows = history(uri, Path(folder), chosen.conversations, chosen.stash)
        drawn = memory(uri, chosen.hours)
    ratios = {f"{row['tick']}_ms_with_{NEW}_new": row["some_new"] for row in rows} | drawn
    finish(rows, ratios, chosen.json, server)
    exceeded = [str(row["tick"]) for row in rows if max(row["nothing_new"], row["some_new"]) > row["bound"]]
    if drawn[f"{chosen.hours}_h_peak_mb"] > MORE_MEMORY * drawn["1_h_peak_mb"]:
        exceeded.append(f"memory of {chosen.hours} h of audio")
    print(f"beyond its bound: {', '.join(exceeded)}" if exceeded else "all within the bounds")
    return 1 if exceeded else 0


def history(uri: str, folder: Path, conversations: int, stash: int) -> list[dict[str, Any]]:
    """A row for each tick: milliseconds on the first look at the whole history, with nothing new, and with NEW new."""
    with new_database(uri) as database:
        began = time.monotonic()
        index_conversations(database)
        ensure_indexes(database)
        ensure_card_indexes(database)
        add_history(database, 0, conversations)
        add_stash(database, 0, stash)
        print(
            f"{conversations} conversations, {stash} stash entries, made in {time.monotonic() - began:.0f} s",
            flush=True,
        )
        newest = str(_id(conversations - 1))
        looks = []
        for look in ("first", "nothing_new", "some_new"):
            if look == "some_new":
                add_history(database, conversations, NEW)
                add_stash(database, stash, NEW)
            _, megabytes, found = measured(ticks, uri, database.name, folder / "data", newest)
            looks.append(found)
            print_row(
                {"look": look, "peak_mb": round(megabytes)} | {name: round(ms) for name, (ms, _) in found.items()}
            )
    first, nothing_new, some_new = looks
    return [
        {
            "tick": name,
            "first": round(first[name][0]),
            "nothing_new": round(nothing_new[name][0]),
            "some_new": round(some_new[name][0]),
            "bound": bound,
            "examined": some_new[name][1],
        }
        for name, bound in BOUNDS_MS.items()
    ]


def memory(uri: str, hours: int) -> dict[str, float]:
    """Peak memory of drawing the windows of one hour and of many, in MB."""
    found: dict[str, float] = {}
    with new_database(uri) as database:
        database[CONVERSATIONS].create_index("conversation_id", unique=True)
        database[AUDIO_CHUNKS].create_index([("conversation_id", 1), ("chunk_index", 1)])
        for length in (1, hours):
            seconds, megabytes, drawn = measured(windows, uri, database.name, add_audio(database, length))
            assert round(drawn / 3600) == length
            found[f"{length}_h_peak_mb"] = round(megabytes)
            found[f"{length}_h_times_real_time"] = round(drawn / seconds)
    return found


def _export(database: Db, settings: Settings) -> None:
    """What an export does before and after it cuts audio: list, compare with the index, write what is new."""
    candidates, _ = list_candidates(database, EVENT, settings, with_background=False)
    with open_index(index_path(settings), EVENT.name) as index:
        index.keep_only(candidates, "conversation/")
        known = index.fingerprints()
        for candidate in candidates.values():
            if known.get(candidate.key) != candidate.fingerprint:
                index.put(Outcome(candidate.key, candidate.source, candidate.fingerprint, (), ()))
        index.lines()


def _find_work(database: Db) -> None:
    with Leases(database, ADAPTERS.values()) as leases:
        leases.finish(list(Work(database, ADAPTERS, leases, limit=None)))


def _conversation(number: int) -> dict[str, Any]:
    flag = number % _FLAGGED == 0
    version = {"version_id": "v1", "transcript": "good morning everyone", "maybe_anomaly": flag}
    if number % _ANSWERED == 0:
        version["maybe_anomaly"] = "verified"
    return {
        "_id": _id(number),
        "conversation_id": f"conversation-{number:07}",
        "active_transcript_version": "v1",
        "created_at": BEGIN + EVERY * number,
        "transcript_versions": [version],
    }


def _scan(number: int) -> dict[str, Any]:
    flagged = number % _FLAGGED == 0
    return {
        "conversation_id": f"conversation-{number:07}",
        "version_id": "v1",
        "event": EVENT.name,
        "adapter": "chime_v1",
        "score": 0.9 if flagged else 0.1,
        "threshold": 0.5,
        "flagged": flagged,
        "time": 1.0,
        "scanned_at": BEGIN + EVERY * number,
    }


def _review(number: int) -> dict[str, Any]:
    scan = _scan(number)
    of_event = {
        name: scan[name] for name in ("conversation_id", "version_id", "event", "adapter", "score", "threshold")
    }
    said = {"answer": "accepted", "reviewer": "ada", "reviewed_at": scan["scanned_at"], "revision": 1, "settled": True}
    return of_event | said | {"history": []}


def _id(number: int) -> ObjectId:
    """An id as a document has that was made then."""
    moment = ObjectId.from_datetime(BEGIN + EVERY * number)
    return ObjectId(moment.binary[:4] + number.to_bytes(8, "big"))


def _batches(numbers: Iterable[int], size: int = _BATCH) -> Iterator[list[int]]:
    remaining = iter(numbers)
    while batch := list(islice(remaining, size)):
        yield batch


if __name__ == "__main__":
    sys.exit(main())
