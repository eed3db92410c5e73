"""The questions this project asks Chronicle, each answered with the fields it needs and no more."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import (
    AUDIO_CHUNKS,
    CONVERSATIONS,
    EVENT_REVIEWS,
    TRAINING_STASH,
    server_time,
)
from event_detection_pipeline.chronicle.documents import Conversation, Document, parse_conversation

# Without its base64 audio and its segments, which can be megabytes an entry.
_STASH_FIELDS = {
    "conversation_id": 1,
    "transcript_version_id": 1,
    "version_id": 1,
    "transcript": 1,
    "reason": 1,
    "timestamp": 1,
    "created_at": 1,
    "user_id": 1,
}
_CONVERSATION_FIELDS = {
    "conversation_id": 1,
    "user_id": 1,
    "client_id": 1,
    "created_at": 1,
    "title": 1,
    "deleted": 1,
    "active_transcript_version": 1,
}


def count_samples(database: Database[dict[str, Any]], event: str, *, after: str = "") -> int:
    """How many samples of an event people gave, or how many since the sample `after`.

    A sample is an entry of the training stash, which is there for all events, or an accepted flag of the event. It
    counts from when it was first given: a changed mind makes no new one. Ids of the future are in no order of time
    (earlier releases made some of hashes): no sample is newer for having one, and as `after` they stand for nothing.
    """
    accepted = {"event": event, "answer": "accepted"}
    now, since = _now(database), ObjectId(after) if ObjectId.is_valid(after) else None
    newer = {"_id": {"$gt": since, "$lte": now}} if since and since <= now else {}
    # Without the hint MongoDB reads every entry, with its megabytes of audio, to count them all.
    stashed = database[TRAINING_STASH].count_documents(newer, hint="_id_")
    return stashed + database[EVENT_REVIEWS].count_documents(accepted | newer)


def newest_sample(database: Database[dict[str, Any]]) -> str:
    """The id of what people gave last, to the stash or as an answer; "" if they gave nothing."""
    return max(newest_id(database, TRAINING_STASH), newest_id(database, EVENT_REVIEWS))


def newest_id(database: Database[dict[str, Any]], collection: str) -> str:
    """The id of a collection's newest document, "" if it is empty. Ids are in order of time, and they have an index."""
    until = {"_id": {"$lte": _now(database)}}
    newest = database[collection].find_one(until, {"_id": 1}, sort=[("_id", -1)])
    return str(newest["_id"]) if newest else ""


def arrivals(
    database: Database[dict[str, Any]], *, after: str, also: Sequence[str] = (), limit: int
) -> list[tuple[str, bool]]:
    """Conversations newer than the document `after`, and those with the ids `also`: newest first, at most `limit`.

    Returns:
        Document ids, each with whether it has a transcript yet. Found by index, so the history's length costs nothing.
    """
    named = {"_id": {"$in": [_stored_id(one) for one in also]}}
    wanted = {"$or": [{"_id": {"$gt": _stored_id(after)}}, named]} if after else {}
    fields = {"active_transcript_version": 1, "deleted": 1}
    found = database[CONVERSATIONS].find(wanted, fields).sort("_id", -1).limit(limit)
    return [(str(one["_id"]), bool(one.get("active_transcript_version"))) for one in found if not one.get("deleted")]


def iter_stash(database: Database[dict[str, Any]], *, batch_size: int = 100) -> Iterator[Document]:
    """The documents of the training stash, oldest first, without their audio and segments.

    Documents, not entries: `parse_stash_entry` may refuse one, and the caller sets that one aside.
    """
    yield from database[TRAINING_STASH].find({}, _STASH_FIELDS, batch_size=batch_size).sort("_id", 1)


def stash_document(database: Database[dict[str, Any]], document_id: object) -> Document | None:
    """A whole entry of the stash but for its audio."""
    return database[TRAINING_STASH].find_one({"_id": document_id}, {"audio_chunks": 0})


def stash_audio(database: Database[dict[str, Any]], document_id: object) -> object:
    """The copies of the audio that an entry carries, as stored."""
    document = database[TRAINING_STASH].find_one({"_id": document_id}, {"audio_chunks": 1})
    return document.get("audio_chunks") if document else None


def get_conversation(
    database: Database[dict[str, Any]], conversation_id: str, *, version_id: str | None = None
) -> Conversation | None:
    """A conversation with one of its versions (the active one if none is named), or None if there is none.

    One two-hour version is 4.6 MB: the others stay in the database.
    """
    collection = database[CONVERSATIONS]
    if version_id is None:
        found = collection.find_one({"conversation_id": conversation_id}, {"active_transcript_version": 1})
        version_id = found.get("active_transcript_version") if found else None
    versions = {"transcript_versions": {"$elemMatch": {"version_id": version_id}}}
    document = collection.find_one({"conversation_id": conversation_id}, _CONVERSATION_FIELDS | versions)
    return parse_conversation(document) if document else None


def has_audio(database: Database[dict[str, Any]], conversation_id: str) -> bool:
    """Whether any audio chunk of the conversation is left."""
    query = {"conversation_id": conversation_id, "deleted": {"$ne": True}}
    return database[AUDIO_CHUNKS].find_one(query, {"_id": 1}) is not None


def _now(database: Database[dict[str, Any]]) -> ObjectId:
    """Above every id that was made by now, by the server's clock."""
    return ObjectId.from_datetime(server_time(database) + timedelta(seconds=1))


def _stored_id(text: str) -> ObjectId | str:
    return ObjectId(text) if ObjectId.is_valid(text) else text
