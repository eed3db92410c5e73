"""Scan: every version nobody answered is scored once and flagged as its score says; no answered one ever is."""

from collections.abc import Callable, Iterator
from functools import cache

from event_detection_pipeline.adapters.detector import load_detectors
from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, EVENT_SCAN_LEASES, EVENT_SCANS
from event_detection_pipeline.config import ClipSettings, ScanSettings
from event_detection_pipeline.scan.scan import scan
from event_detection_pipeline_tests.faults.world import (
    Db,
    World,
    index_as_chronicle_does,
    let_leases_expire,
    say,
    upkeep,
)
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.random_adapter import CPU
from event_detection_pipeline_tests.review.flags import add_flagged, version_of
from event_detection_pipeline_tests.sounds import encode, tone

# One adapter that flags whatever it hears, and one that flags nothing.
THRESHOLDS = {"chime_v1": 0.0, "sneeze_v1": 1.0}
_ADAPTERS = {"chime": "chime_v1", "sneeze": "sneeze_v1"}
_FLAGS = {"accepted": "verified", "rejected": "rejected"}
_NEW = [f"c{number}" for number in range(4)]
_ANSWERED = {"yes": "verified", "no": "rejected", "elsewhere": "verified"}


class Scanning:
    name = "scan"
    uses_database = True

    def prepare(self, world: World) -> None:
        database = world.open()
        index_as_chronicle_does(database)
        chunks = [{"chunk_index": 0, "audio_data": _sound()}]
        for id_ in _NEW:
            add_conversation(database, conversation_id=id_, chunks=chunks, transcript="good morning")
        for id_ in _ANSWERED:
            add_flagged(database, event="chime", adapter="chime_v0", conversation_id=id_, chunks=chunks)
        say(database, "yes", "accepted", "ada")
        say(database, "no", "rejected", "ada")
        # Answered in Chronicle itself: only the flag knows.
        answered = {"transcript_versions.0.maybe_anomaly": "verified"}
        database[CONVERSATIONS].update_one({"conversation_id": "elsewhere"}, {"$set": answered})
        add_conversation(database, conversation_id="deleted", chunks=chunks, deleted=True)
        database.client.close()

    def run(self, world: World, uri: str, number: int, promise: Callable[[str], None]) -> None:
        database = world.open(uri)
        detectors = load_detectors([world.models / name for name in THRESHOLDS], CPU)
        scan(database, detectors, ScanSettings(batch_size=2), ClipSettings())
        database.client.close()

    def broken(self, world: World, promised: list[str]) -> Iterator[str]:
        database = world.open()
        let_leases_expire(database)
        pairs = [(one["conversation_id"], one["event"]) for one in database[EVENT_SCANS].find()]
        if len(set(pairs)) < len(pairs):
            yield "a version has two scores of one event"
        yield from _changed_answers(database)
        database.client.close()

    def unfinished(self, world: World) -> Iterator[str]:
        database = world.open()
        upkeep(database, _ADAPTERS)
        yield from _changed_answers(database)
        for id_ in _NEW:
            yield from _not_heard(database, id_)
        if left := database[EVENT_SCAN_LEASES].count_documents({"adapters": {"$ne": []}}):
            yield f"{left} versions are still on somebody's list"
        if database[EVENT_SCANS].find_one({"conversation_id": "deleted"}):
            yield "a deleted conversation was scanned"
        database.client.close()


def _changed_answers(database: Db) -> Iterator[str]:
    """Also of what a person answered while the scan was listening to it."""
    reviews = {one["conversation_id"]: one["answer"] for one in database[EVENT_REVIEWS].find()}
    meanwhile = {id_: _FLAGS[reviews[id_]] for id_ in _NEW if id_ in reviews}
    for id_, flag in (_ANSWERED | meanwhile).items():
        if (found := version_of(database, id_)["maybe_anomaly"]) != flag:
            yield f"{id_} was answered, and its flag is {found}"


def _not_heard(database: Db, id_: str) -> Iterator[str]:
    if database[EVENT_REVIEWS].find_one({"conversation_id": id_}):
        return  # a person was quicker
    flag = version_of(database, id_)["maybe_anomaly"]
    found = {one["event"]: one["flagged"] for one in database[EVENT_SCANS].find({"conversation_id": id_})}
    if found != {"chime": True, "sneeze": False}:
        yield f"{id_} has the scores {found}"
    if flag is not True:
        yield f"{id_} was heard, and its flag is {flag}"


@cache
def _sound() -> bytes:
    return encode(tone(2.0))
