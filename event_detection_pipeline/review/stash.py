"""The training stash: one entry for each rejected version, with its audio referenced or, within bounds, copied."""

import base64
import hashlib
from collections.abc import Collection
from typing import Any

import bson
from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from event_detection_pipeline.chronicle.audio import file_bytes
from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS, TRAINING_STASH
from event_detection_pipeline.chronicle.documents import Document

# Half of what a MongoDB document may hold, and as many chunks as Chronicle itself copies.
MAX_ENTRY_BYTES = 8 * 2**20
MAX_COPIED_CHUNKS = 100
_MAX_REFERENCES = 1080  # 3 h of chunks; beyond it an index is wrong

_CHUNK_FIELDS = ("chunk_index", "duration", "sample_rate", "channels")


def put(
    database: Database[dict[str, Any]],
    conversation: Document,
    version: Document,
    said: Document,
    review_ids: Collection[ObjectId],
    *,
    copy_audio: bool,
) -> ObjectId:
    """Stash a rejected version, or bring its entry up to date. Returns the entry's id.

    An entry has the id of its version's first review: no version is there twice, and ids are in order of time, as
    Chronicle's own are.

    Args:
        conversation: the document with its user_id and client_id.
        version: the element of its transcript_versions.
        said: the review; its `transcript`, if there is one, corrects the version's.
        review_ids: of all reviews of the version.
    """
    stash = database[TRAINING_STASH]
    conversation_id, version_id = conversation["conversation_id"], version["version_id"]
    id_ = min(review_ids)
    corrected = said.get("transcript")
    spoken = {
        "transcript": version.get("transcript") if corrected is None else corrected,
        "reason": said.get("reason"),
    }
    known = _known(database, conversation_id, version, review_ids)
    if known is not None:
        stash.update_one({"_id": known}, {"$set": spoken})
        return known
    entry = {
        "_id": id_,
        "transcript_version_id": version_id,
        "conversation_id": conversation_id,
        "user_id": conversation.get("user_id"),
        "client_id": conversation.get("client_id"),
        **spoken,
        "segments": version.get("segments"),
        "timestamp": said.get("timestamp") or said["reviewed_at"].timestamp(),
        "audio_chunks": [],
        "metadata": version.get("metadata") or {},
        "created_at": said["reviewed_at"].isoformat(),
    }
    entry["audio_chunks"] = _chunks(database, conversation_id, copy_audio, MAX_ENTRY_BYTES - len(bson.encode(entry)))
    if len(bson.encode(entry)) > MAX_ENTRY_BYTES:
        entry["segments"] = None  # hours of words; the conversation has them
    try:
        stash.insert_one(entry)
    except DuplicateKeyError:
        stash.update_one({"_id": id_}, {"$set": spoken})
    return id_


def remove(
    database: Database[dict[str, Any]], conversation_id: str, version: Document, review_ids: Collection[ObjectId]
) -> None:
    """Take a version that is not rejected any more out of the stash, also an entry that Chronicle made."""
    ours = _own_ids(conversation_id, version["version_id"], review_ids)
    database[TRAINING_STASH].delete_many({"_id": {"$in": ours}})
    if _was_rejected(version):
        database[TRAINING_STASH].delete_many(_of_version(conversation_id, version["version_id"]))


def _own_ids(conversation_id: str, version_id: str, review_ids: Collection[ObjectId]) -> list[ObjectId]:
    """What an entry of ours may have as its id. Earlier releases made it from the version alone, in no order."""
    former = ObjectId(hashlib.sha256(f"{conversation_id}\0{version_id}".encode()).digest()[:12])
    return [*review_ids, former]


def _known(
    database: Database[dict[str, Any]], conversation_id: str, version: Document, review_ids: Collection[ObjectId]
) -> Any:
    stash = database[TRAINING_STASH]
    ours = _own_ids(conversation_id, version["version_id"], review_ids)
    known = [entry["_id"] for entry in stash.find({"_id": {"$in": ours}}, {"_id": 1}).sort("_id", 1)]
    if len(known) > 1:
        # Of two people who answered about two events at once, one did not see the other's earlier review.
        stash.delete_many({"_id": {"$in": known[1:]}})
    # The stash has no index but _id and megabytes an entry: look through it only where Chronicle may have put one.
    if not known and _was_rejected(version):
        theirs = stash.find_one(_of_version(conversation_id, version["version_id"]), {"_id": 1})
        return theirs["_id"] if theirs else None
    return known[0] if known else None


def _was_rejected(version: Document) -> bool:
    return version.get("maybe_anomaly") == "rejected" or version.get("rejected_at") is not None


def _of_version(conversation_id: str, version_id: str) -> dict[str, Any]:
    return {
        "conversation_id": conversation_id,
        "$or": [{"transcript_version_id": version_id}, {"version_id": version_id}],
    }


def _chunks(
    database: Database[dict[str, Any]], conversation_id: str, copy_audio: bool, room: int
) -> list[dict[str, Any]]:
    """References to the audio; with `copy_audio` the audio itself, if all of it fits."""
    query = {"conversation_id": conversation_id, "deleted": {"$ne": True}}
    found = database[AUDIO_CHUNKS].find(query, dict.fromkeys(_CHUNK_FIELDS, 1)).limit(_MAX_REFERENCES)
    headers = sorted(found, key=lambda header: (str(header.get("chunk_index")).zfill(9), str(header["_id"])))
    references = [{name: header.get(name) for name in _CHUNK_FIELDS} for header in headers]
    if not copy_audio or len(headers) > MAX_COPIED_CHUNKS:
        return references
    copies = []
    for header, reference in zip(headers, references, strict=True):
        chunk = database[AUDIO_CHUNKS].find_one({"_id": header["_id"]}, {"audio_data": 1}) or {}
        data = chunk.get("audio_data")
        text = base64.b64encode(file_bytes(data) if isinstance(data, bytes | str) else b"").decode()
        room -= len(text)
        if room < 0:
            return references
        copies.append(reference | {"audio_data": text})
    return copies
