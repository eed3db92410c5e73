"""Finding work: the transcript versions that a scan has yet to look at."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from pymongo import DESCENDING
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, EVENT_SCANS

ANSWERS = ("verified", "rejected")  # what a person said of a flag; a scan never touches it
ANSWERED = {"answer": {"$ne": None}}  # in event_reviews; an answer that was undone is None again
_BATCH = 200


@dataclass(frozen=True, slots=True)
class PendingVersion:
    """The active version of a conversation that nobody answered and the current adapters have not heard."""

    conversation_id: str
    version_id: str


def iter_pending(database: Database[dict[str, Any]], adapters: Collection[str]) -> Iterator[PendingVersion]:
    """Active versions of undeleted conversations, newest first, that no person answered and that lack a scan by at
    least one of the adapters (names such as sneeze_v3).

    Neither words nor transcripts are loaded. An answer counts wherever it is found, in the flag or in `event_reviews`:
    Chronicle may have overwritten the flag.
    """
    fields = {
        "conversation_id": 1,
        "active_transcript_version": 1,
        "transcript_versions.version_id": 1,
        "transcript_versions.maybe_anomaly": 1,
    }
    cursor = database[CONVERSATIONS].find({"deleted": {"$ne": True}}, fields).sort("created_at", DESCENDING)
    batch: list[PendingVersion] = []
    for document in cursor.batch_size(_BATCH):
        version = _unanswered_active_version(document)
        if version:
            batch.append(version)
        if len(batch) >= _BATCH:
            yield from _without_known(database, batch, adapters)
            batch = []
    yield from _without_known(database, batch, adapters)


def _unanswered_active_version(document: dict[str, Any]) -> PendingVersion | None:
    conversation_id, active = document.get("conversation_id"), document.get("active_transcript_version")
    versions = document.get("transcript_versions")
    if not isinstance(conversation_id, str) or not isinstance(active, str) or not isinstance(versions, list):
        return None
    for version in versions:
        if isinstance(version, dict) and version.get("version_id") == active:
            return None if version.get("maybe_anomaly") in ANSWERS else PendingVersion(conversation_id, active)
    return None


def _without_known(
    database: Database[dict[str, Any]], batch: list[PendingVersion], adapters: Collection[str]
) -> Iterator[PendingVersion]:
    """Leave out what was scanned by all adapters, and what a person answered."""
    if not batch:
        return
    of_batch = {"conversation_id": {"$in": [version.conversation_id for version in batch]}}
    key = {"conversation_id": 1, "version_id": 1, "adapter": 1}
    heard: dict[tuple[str, str], set[str]] = {}
    for scan in database[EVENT_SCANS].find(of_batch | {"adapter": {"$in": list(adapters)}}, key):
        heard.setdefault((scan["conversation_id"], scan["version_id"]), set()).add(scan["adapter"])
    answered = {
        (review["conversation_id"], review["version_id"])
        for review in database[EVENT_REVIEWS].find(of_batch | ANSWERED, key)
    }
    for version in batch:
        id_ = (version.conversation_id, version.version_id)
        if id_ not in answered and heard.get(id_, set()) < set(adapters):
            yield version
