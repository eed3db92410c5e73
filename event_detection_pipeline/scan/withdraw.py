"""Taking back what a withdrawn adapter flagged: where nobody has answered yet, the next scan decides anew."""

from collections.abc import Iterable
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, EVENT_SCANS, patiently
from event_detection_pipeline.chronicle.documents import Document
from event_detection_pipeline.scan.pending import ANSWERED

_KEY = {"conversation_id": 1, "version_id": 1}


def withdraw_flags(database: Database[dict[str, Any]], adapter: str) -> int:
    """Make the unanswered flags of an adapter (such as sneeze_v3) look as if nobody had listened; how many there were.

    They are gone from the reviewers' queue at once, and pending for the next scan. A version of which people answered
    anything is left alone, because no scan looks at it again; one in which another adapter heard something too keeps
    its flag. Flags first, then scores: after a crash between the two the same call finds the scores and finishes.

    Raises:
        ChronicleUnavailable: the server stayed away; the same call again finishes what was begun.
    """
    return patiently(database, lambda: _withdraw(database, adapter))


def _withdraw(database: Database[dict[str, Any]], adapter: str) -> int:
    scans = list(database[EVENT_SCANS].find({"adapter": adapter, "flagged": True}))
    of_these = {"conversation_id": {"$in": [scan["conversation_id"] for scan in scans]}}
    answered = _versions(database[EVENT_REVIEWS].find(of_these | ANSWERED, _KEY))
    withdrawn = [scan for scan in scans if _version(scan) not in answered]
    flagged_by_another = of_these | {"flagged": True, "adapter": {"$ne": adapter}}
    still_flagged = _versions(database[EVENT_SCANS].find(flagged_by_another, _KEY))
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
        if _version(scan) not in still_flagged
    ]
    if updates:
        database[CONVERSATIONS].bulk_write(updates, ordered=False)
    # Unless a scan has just heard it again.
    database[EVENT_SCANS].delete_many({"_id": {"$in": [scan["_id"] for scan in withdrawn]}, "adapter": adapter})
    return len(withdrawn)


def _versions(documents: Iterable[Document]) -> set[tuple[str, str]]:
    return {_version(document) for document in documents}


def _version(document: Document) -> tuple[str, str]:
    return document["conversation_id"], document["version_id"]
