"""Flagged conversations for tests of the user loop, with the scan that flagged them."""

from datetime import datetime
from typing import Any

from pymongo.database import Database

from event_detection_pipeline_tests.household import DAY, add_conversation


def add_flagged(
    database: Database[dict[str, Any]],
    *,
    event: str | None = "event",
    score: float = 0.9,
    adapter: str = "event_v1",
    time: float | None = 1.0,
    scanned_at: datetime = DAY,
    **fields: Any,
) -> str:
    """Insert a conversation whose version `<id>-v1` is flagged, and its scan if `event` is given. Returns its id."""
    conversation_id = add_conversation(database, **fields)
    database["conversations"].update_one(
        {"conversation_id": conversation_id}, {"$set": {"transcript_versions.0.maybe_anomaly": True}}
    )
    if event:
        add_scan(database, conversation_id, event=event, score=score, adapter=adapter, time=time, scanned_at=scanned_at)
    return conversation_id


def add_scan(
    database: Database[dict[str, Any]],
    conversation_id: str,
    *,
    event: str = "event",
    score: float = 0.9,
    adapter: str = "event_v1",
    time: float | None = 1.0,
    scanned_at: datetime = DAY,
) -> None:
    """Insert what a scan writes for `<conversation_id>-v1`, flagged from 0.5."""
    database["event_scans"].insert_one(
        {
            "conversation_id": conversation_id,
            "version_id": f"{conversation_id}-v1",
            "event": event,
            "adapter": adapter,
            "score": score,
            "threshold": 0.5,
            "flagged": score >= 0.5,
            "time": time,
            "scanned_at": scanned_at,
        }
    )


def add_many_flagged(database: Database[dict[str, Any]], count: int, *, event: str = "sneeze") -> None:
    """Insert many flagged conversations without audio, and their scans, with scores from 0.5 upwards."""
    ids = [f"conversation-{i:06}" for i in range(count)]
    version = {"transcript": "well bless you", "maybe_anomaly": True}
    database["conversations"].insert_many(
        {
            "conversation_id": id_,
            "created_at": DAY,
            "active_transcript_version": f"{id_}-v1",
            "transcript_versions": [version | {"version_id": f"{id_}-v1"}],
        }
        for id_ in ids
    )
    heard = {"event": event, "adapter": "sneeze_v1", "threshold": 0.5, "flagged": True, "time": 1.0, "scanned_at": DAY}
    database["event_scans"].insert_many(
        heard | {"conversation_id": id_, "version_id": f"{id_}-v1", "score": 0.5 + i / (2 * count)}
        for i, id_ in enumerate(ids)
    )


def version_of(database: Database[dict[str, Any]], conversation_id: str) -> dict[str, Any]:
    """The first version of a conversation as stored now."""
    document = database["conversations"].find_one({"conversation_id": conversation_id})
    assert document is not None
    return document["transcript_versions"][0]


def review_of(database: Database[dict[str, Any]], conversation_id: str, event: str = "event") -> dict[str, Any]:
    """The review of an event of `<conversation_id>-v1`."""
    review = database["event_reviews"].find_one({"conversation_id": conversation_id, "event": event})
    assert review is not None
    return review
