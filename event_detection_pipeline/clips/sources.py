"""What people said about conversations: the material clips are made of, listed without its words and audio.

An export finds what is new, edited or retracted by fingerprints, and leaves the rest of the history alone.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from pymongo import ASCENDING
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, EVENT_SCANS, TRAINING_STASH
from event_detection_pipeline.chronicle.documents import (
    Document,
    MalformedDocument,
    parse_stash_entry,
)
from event_detection_pipeline.chronicle.queries import iter_stash
from event_detection_pipeline.clips.rejects import Reject, RejectReason, SetAside
from event_detection_pipeline.config import EventSettings, Settings

_AT_ONCE = 500  # conversations in one query
_ANSWERS = ["accepted", "rejected"]  # a review without one was withdrawn
_BATCH = 50  # conversations; the first of a sample are all that is read of it
_HEAD = {  # of a conversation, without its words and texts
    "conversation_id": 1,
    "active_transcript_version": 1,
    "transcript_versions.version_id": 1,
    "transcript_versions.maybe_anomaly": 1,
}
_TEXT = {"transcript_versions.transcript": 1}

STASH = TRAINING_STASH
REVIEWS = EVENT_REVIEWS
VERIFIED_FLAGS = "verified_flags"
BACKGROUND = "background"

# What a manifest line's `type` is for each source; `positive` is the original export's word for every stash entry.
TYPES = {STASH: "positive", BACKGROUND: "background"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transcript version that somebody said something about.

    Attributes:
        key: unique among an event's material, also from one export to the next.
        document_id: of the document that says it.
        contains_event: True where a person confirmed the event, None where the text's tag decides.
        fingerprint: changes when what was said changes, or the transcript that it was said of.
    """

    key: str
    source: str
    document_id: Any
    conversation_id: str
    version_id: str | None
    contains_event: bool | None
    fingerprint: str


def list_candidates(
    database: Database[dict[str, Any]], event: EventSettings, settings: Settings, *, with_background: bool
) -> tuple[dict[str, Candidate], list[Reject]]:
    """All that is to become clips, by key, and what cannot. The stash counts before reviews and flags."""
    rejects: list[Reject] = []
    candidates = _stash(database, rejects)
    for candidate in (*_reviews(database, event), *_verified_flags(database, event, settings)):
        candidates.setdefault((candidate.conversation_id, candidate.version_id), candidate)
    if with_background:
        said = {conversation_id for conversation_id, _ in candidates}
        for candidate in _background(database, settings, said):
            candidates[candidate.conversation_id, candidate.version_id] = candidate
    deleted = set(_deleted(database))
    kept = {}
    for candidate in candidates.values():
        if candidate.conversation_id in deleted:
            rejects.append(rejected(candidate, SetAside(RejectReason.CONVERSATION_DELETED)))
        else:
            kept[candidate.key] = candidate
    return _with_texts(database, kept), rejects


def rejected(candidate: Candidate, why: SetAside) -> Reject:
    """The candidate set aside as a whole."""
    return Reject(
        why.reason, candidate.source, str(candidate.document_id), candidate.conversation_id, detail=why.detail
    )


def _stash(database: Database[dict[str, Any]], rejects: list[Reject]) -> dict[tuple[str, str | None], Candidate]:
    """The newest entry of each version."""
    newest: dict[tuple[str, str | None], tuple[datetime, Candidate]] = {}
    for document in iter_stash(database):
        try:
            entry = parse_stash_entry(document)
        except MalformedDocument as error:
            rejects.append(Reject(RejectReason.MALFORMED_DOCUMENT, STASH, str(document.get("_id")), detail=str(error)))
            continue
        said = (entry.id, entry.transcript, entry.created_at)
        candidate = _candidate(STASH, document["_id"], entry.conversation_id, entry.version_id, None, said)
        version = entry.conversation_id, entry.version_id
        written = entry.created_at or datetime.fromtimestamp(0, UTC)
        if version not in newest or written >= newest[version][0]:
            newest[version] = written, candidate
    return {version: candidate for version, (_, candidate) in newest.items()}


def _reviews(database: Database[dict[str, Any]], event: EventSettings) -> Iterator[Candidate]:
    """Answers that are in nobody's stash: accepted flags, and rejected ones of a version with another, right flag."""
    query = {"event": event.name, "answer": {"$in": _ANSWERS}}
    fields = {"conversation_id": 1, "version_id": 1, "answer": 1, "transcript": 1, "time": 1}
    for review in database[EVENT_REVIEWS].find(query, fields):
        said = (review["answer"], review.get("transcript"), review.get("time"))
        yield _candidate(
            REVIEWS,
            review["_id"],
            review["conversation_id"],
            review["version_id"],
            review["answer"] == "accepted",
            said,
        )


def _verified_flags(
    database: Database[dict[str, Any]], event: EventSettings, settings: Settings
) -> Iterator[Candidate]:
    """Flags that were accepted in Chronicle itself; which event was meant, the scan says, or there is only one."""
    query = {"transcript_versions.maybe_anomaly": "verified", "deleted": {"$ne": True}}
    found = _versions(database[CONVERSATIONS].find(query, _HEAD))
    verified = ((one, id_) for one, id_, version, _ in found if version.get("maybe_anomaly") == "verified")
    while batch := list(islice(verified, _AT_ONCE)):
        of_these = {"conversation_id": {"$in": [conversation_id for conversation_id, _ in batch]}, "event": event.name}
        heard = {
            (scan["conversation_id"], scan["version_id"]): scan.get("flagged") is True
            for scan in database[EVENT_SCANS].find(of_these, {"conversation_id": 1, "version_id": 1, "flagged": 1})
        }
        answered = {
            (review["conversation_id"], review["version_id"])
            for review in database[EVENT_REVIEWS].find(
                {"conversation_id": of_these["conversation_id"], "answer": {"$in": _ANSWERS}},
                {"conversation_id": 1, "version_id": 1},
            )
        }
        for conversation_id, version_id in batch:
            if (conversation_id, version_id) in answered:
                continue  # one accepted event is enough for the flag: of the others the reviews tell
            if heard.get((conversation_id, version_id), len(settings.events) == 1):
                yield _candidate(VERIFIED_FLAGS, version_id, conversation_id, version_id, True, ())


def _background(database: Database[dict[str, Any]], settings: Settings, said: set[str]) -> Iterator[Candidate]:
    """Conversations that nobody flagged, always the same ones as long as they stay: recordings are mixed into them.

    Ids are random (UUIDs), so those that follow a random one in their index's order are a sample, and no more than
    the sample is read.
    """
    wanted = settings.clips.background_conversations
    start = hashlib.sha256(str(settings.clips.seed).encode()).hexdigest()
    for ids in ({"$gte": start}, {"$lt": start}):
        query = {"conversation_id": ids, "deleted": {"$ne": True}}
        cursor = database[CONVERSATIONS].find(query, _HEAD, batch_size=_BATCH).sort("conversation_id", ASCENDING)
        for conversation_id, version_id, version, active in _versions(cursor):
            if wanted == 0:
                return
            flagged = version.get("maybe_anomaly") not in (None, False)
            if version_id == active and not flagged and conversation_id not in said:
                wanted -= 1
                yield _candidate(BACKGROUND, version_id, conversation_id, version_id, False, ())


def _with_texts(database: Database[dict[str, Any]], candidates: dict[str, Candidate]) -> dict[str, Candidate]:
    """The candidates with their versions' texts in the fingerprints, as people edit them in Chronicle.

    Stash entries have a text of their own: only conversations that were confirmed, answered or drawn are read.
    """
    read = iter({candidate.conversation_id for candidate in candidates.values() if candidate.source != STASH})
    while batch := list(islice(read, _AT_ONCE)):
        found = database[CONVERSATIONS].find({"conversation_id": {"$in": batch}}, _HEAD | _TEXT)
        for conversation_id, version_id, version, _ in _versions(found):
            candidate = candidates.get(_key(conversation_id, version_id))
            if candidate and candidate.source != STASH:
                fingerprint = _digest(candidate.fingerprint, version.get("transcript"))
                candidates[candidate.key] = replace(candidate, fingerprint=fingerprint)
    return candidates


def _versions(conversations: Iterable[Document]) -> Iterator[tuple[str, str, Document, object]]:
    """(conversation_id, version_id, the version, the active version's id) of what was read with _HEAD."""
    for document in conversations:
        versions = document.get("transcript_versions")
        for version in versions if isinstance(versions, list) else []:
            ids = document.get("conversation_id"), version.get("version_id") if isinstance(version, dict) else None
            if isinstance(ids[0], str) and isinstance(ids[1], str):
                yield ids[0], ids[1], version, document.get("active_transcript_version")


def _deleted(database: Database[dict[str, Any]]) -> Iterator[str]:
    for document in database[CONVERSATIONS].find({"deleted": True}, {"conversation_id": 1}):
        yield str(document.get("conversation_id"))


def _candidate(
    source: str,
    document_id: Any,
    conversation_id: str,
    version_id: str | None,
    contains_event: bool | None,
    said: tuple[object, ...],
) -> Candidate:
    key, fingerprint = _key(conversation_id, version_id), _digest(source, contains_event, *said)
    return Candidate(key, source, document_id, conversation_id, version_id, contains_event, fingerprint)


def _key(conversation_id: str, version_id: str | None) -> str:
    return f"conversation/{conversation_id}/{version_id}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
