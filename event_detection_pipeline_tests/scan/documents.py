"""Conversations as a scan meets them, without audio, and what it hears in them."""

from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.results import VersionScore
from event_detection_pipeline.scan.work import Work

Db = Database[dict[str, Any]]

CHIME = {"chime": "chime_v1"}


def save_conversation(database: Db, conversation_id: str, flag: object = None, **fields: object) -> None:
    """With an old version and the active one, `v1`."""
    old = {"version_id": "old", "maybe_anomaly": None, "transcript": "first draft"}
    active = {"version_id": "v1", "maybe_anomaly": flag, "transcript": "good morning"}
    document = {
        "conversation_id": conversation_id,
        "active_transcript_version": "v1",
        "transcript_versions": [old, active],
    }
    database[CONVERSATIONS].insert_one(document | fields)


def id_of(moment: datetime) -> ObjectId:
    """An id as a document that was inserted then has."""
    return ObjectId(ObjectId.from_datetime(moment).binary[:4] + ObjectId().binary[4:])


def flags_of(database: Db, conversation_id: str) -> list[object]:
    document = database[CONVERSATIONS].find_one({"conversation_id": conversation_id})
    assert document is not None
    return [version.get("maybe_anomaly") for version in document["transcript_versions"]]


def set_flag(database: Db, conversation_id: str, flag: object) -> None:
    """What happens when Chronicle saves a copy of the conversation with this flag in it."""
    database[CONVERSATIONS].update_one(
        {"conversation_id": conversation_id}, {"$set": {"transcript_versions.1.maybe_anomaly": flag}}
    )


def heard(
    conversation_id: str, score: float | None, *, event: str = "chime", adapter: str = "chime_v1"
) -> VersionScore:
    return VersionScore(conversation_id, "v1", event, adapter, score, threshold=0.5, time=1.5)


def work_of(database: Db, adapters: dict[str, str] | None = None, limit: int | None = None) -> list[str]:
    """The conversations that a scan takes up, in its order; what is heard in them is the test's to write."""
    adapters = adapters or CHIME
    with Leases(database, adapters.values()) as leases:
        work = Work(database, adapters, leases, limit)
        taken = [*work.suspects(), *work]
        leases.finish(taken)
    return [version.conversation_id for version in taken]
