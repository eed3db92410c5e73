"""Which of some conversations a scan has yet to look at, and where Chronicle has lost what is known of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS, EVENT_SCANS, patiently
from event_detection_pipeline.chronicle.documents import Document

ANSWERS = ("verified", "rejected")  # what a person said of a flag; a scan never touches it
ANSWERED = {"answer": {"$ne": None}}  # in event_reviews; an answer that was undone is None again

HEAD = {
    "conversation_id": 1,
    "deleted": 1,
    "active_transcript_version": 1,
    "transcript_versions.version_id": 1,
    "transcript_versions.maybe_anomaly": 1,
    "transcript_versions.verified_at": 1,
    "transcript_versions.rejected_at": 1,
}
"""The fields of a conversation that `examine` reads: neither words nor transcripts."""


@dataclass(frozen=True, slots=True)
class PendingVersion:
    """The active version of a conversation that nobody answered and the current adapters have not heard.

    `attempts` counts the scans that have tried it, the present one included.
    """

    conversation_id: str
    version_id: str
    attempts: int = field(default=0, compare=False)


@dataclass(slots=True)
class Examined:
    """What there is to do for some conversations.

    Attributes:
        pending: to be scanned, in the order of the conversations.
        lost_flags: what `maybe_anomaly` must say and does not, because Chronicle saved an older copy.
        lost_answers: a person answered, and the flag says that nobody looked at it or that it is quiet; or somebody
            has changed their mind, and the flag says what they said before.
    """

    pending: list[PendingVersion] = field(default_factory=list)
    lost_flags: dict[PendingVersion, bool] = field(default_factory=dict)
    lost_answers: list[PendingVersion] = field(default_factory=list)


def examine(database: Database[dict[str, Any]], heads: Sequence[Document], adapters: Collection[str]) -> Examined:
    """Look at the active versions of undeleted conversations.

    Pending is what no person answered and what lacks a scan by at least one of the adapters (names such as sneeze_v3).
    An answer counts wherever it is found, in the flag or in `event_reviews`: Chronicle may have overwritten the flag.

    Args:
        heads: documents of `conversations` with the fields of HEAD.
    """
    active = [found for head in heads if (found := active_version(head))]
    examined = Examined()
    if not active:
        return examined
    scans, reviews = patiently(database, lambda: _known(database, [version for version, _, _ in active]))
    for version, flag, said_at in active:
        known, review = scans.get(version, {}), reviews.get(version, _Reviewed())
        if said_at in review.before:
            examined.lost_answers.append(version)
        elif review.answered:
            if flag is None or flag is False:
                examined.lost_answers.append(version)
        elif flag not in ANSWERS:
            if any(known.values()) and flag is not True:
                examined.lost_flags[version] = True
            elif known and flag is None and not any(known.values()) and None not in known.values():
                examined.lost_flags[version] = False
            if not known.keys() >= set(adapters):
                examined.pending.append(version)
    return examined


def still_pending(
    database: Database[dict[str, Any]], versions: Sequence[PendingVersion], adapters: Collection[str]
) -> list[PendingVersion]:
    """Those that nobody has scanned or answered meanwhile."""
    if not versions:
        return []
    scans, reviews = patiently(database, lambda: _known(database, versions))
    return [
        version
        for version in versions
        if not reviews.get(version, _Reviewed()).answered and not scans.get(version, {}).keys() >= set(adapters)
    ]


def active_version(head: Document) -> tuple[PendingVersion, object, str | None] | None:
    """The active version, its flag, and when a person set it (ISO 8601, None if nobody did); None where the
    conversation is deleted or has none."""
    conversation_id, active = head.get("conversation_id"), head.get("active_transcript_version")
    versions = head.get("transcript_versions")
    if head.get("deleted") is True or not isinstance(conversation_id, str) or not isinstance(active, str):
        return None
    for version in versions if isinstance(versions, list) else []:
        if isinstance(version, dict) and version.get("version_id") == active:
            said_at = version.get("verified_at") or version.get("rejected_at")
            moment = said_at if isinstance(said_at, str) else None
            return PendingVersion(conversation_id, active), version.get("maybe_anomaly"), moment
    return None


@dataclass(slots=True)
class _Reviewed:
    """What `event_reviews` knows of a version: whether an answer stands, and when those were given that no longer do,
    as a flag would say it."""

    answered: bool = False
    before: set[str] = field(default_factory=set)


def _known(
    database: Database[dict[str, Any]], versions: Sequence[PendingVersion]
) -> tuple[dict[PendingVersion, dict[str, bool | None]], dict[PendingVersion, _Reviewed]]:
    """For each version whether which adapter flagged it (None: there was nothing to hear), and what people said."""
    of_these = {"conversation_id": {"$in": [version.conversation_id for version in versions]}}
    fields = {"conversation_id": 1, "version_id": 1, "adapter": 1, "flagged": 1, "score": 1}
    scans: dict[PendingVersion, dict[str, bool | None]] = {}
    for scan in database[EVENT_SCANS].find(of_these, fields):
        flagged = bool(scan.get("flagged")) if scan.get("score") is not None else None
        scans.setdefault(PendingVersion(scan["conversation_id"], scan["version_id"]), {})[scan["adapter"]] = flagged
    fields = {"conversation_id": 1, "version_id": 1, "answer": 1, "history.reviewed_at": 1}
    reviews: dict[PendingVersion, _Reviewed] = {}
    for review in database[EVENT_REVIEWS].find(of_these, fields):
        known = reviews.setdefault(PendingVersion(review["conversation_id"], review["version_id"]), _Reviewed())
        known.answered |= review.get("answer") is not None
        moments = [one.get("reviewed_at") for one in review.get("history") or []]
        known.before.update(moment.isoformat() for moment in moments if isinstance(moment, datetime))
    return scans, reviews
