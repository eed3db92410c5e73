"""Taking back what a withdrawn adapter flagged: where nobody has answered yet, the next scan decides anew."""

from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, EVENT_SCANS
from event_detection_pipeline.scan.pending import ANSWERED


def withdraw_flags(database: Database[dict[str, Any]], adapter: str) -> int:
    """Make the unanswered flags of an adapter (such as sneeze_v3) look as if nobody had listened; how many there were.

    They are gone from the reviewers' queue at once, and pending for the next scan. A version of which people answered
    anything is left alone, because no scan looks at it again; one in which another adapter heard something too keeps
    its flag. Flags first, then scores: after a crash between the two the same call finds the scores and finishes.
    """
    withdrawn = [
        scan
        for scan in database[EVENT_SCANS].find({"adapter": adapter, "flagged": True})
        if not database[EVENT_REVIEWS].find_one(_of_version(scan) | ANSWERED, {"_id": 1})
    ]
    updates = [
        UpdateOne(
            # An answer that comes in between is no longer True, and stays.
            {
                "conversation_id": scan["conversation_id"],
                "transcript_versions": {"$elemMatch": {"version_id": scan["version_id"], "maybe_anomaly": True}},
            },
            {"$set": {"transcript_versions.$.maybe_anomaly": None}},
        )
        for scan in withdrawn
        if not database[EVENT_SCANS].find_one(
            _of_version(scan) | {"flagged": True, "adapter": {"$ne": adapter}}, {"_id": 1}
        )
    ]
    if updates:
        database[CONVERSATIONS].bulk_write(updates, ordered=False)
    # Unless a scan has just heard it again.
    database[EVENT_SCANS].delete_many({"_id": {"$in": [scan["_id"] for scan in withdrawn]}, "adapter": adapter})
    return len(withdrawn)


def _of_version(scan: dict[str, Any]) -> dict[str, Any]:
    return {"conversation_id": scan["conversation_id"], "version_id": scan["version_id"]}
