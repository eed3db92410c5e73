"""The log of people's answers, `event_reviews`: who said what of which event, when, about which adapter's score.

One document for each version and event. It is written before anything else, so that whatever an answer changes
elsewhere (the flag, the stash) can be done again after a crash: `settled` says whether it was, and `settling` who is
about to do it. A write is confirmed when it is in the server's journal, with all that was written before it: a killed
server loses no answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS, EVENT_SCANS, JOURNALED
from event_detection_pipeline.errors import PipelineError

Said = Literal["accepted", "rejected"]

_HISTORY_LIMIT = 50  # changes of mind kept, so that no document grows without bound
# Who began to carry a version's answers out so long ago has ended, one way or another.
_SETTLING_TIME = timedelta(hours=1)
_KEPT = ("answer", "reviewer", "reviewed_at", "reason", "transcript", "time")


class AnswerChanged(PipelineError):
    """Somebody else has answered since; nothing was written."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person says of a flagged version.

    Attributes:
        event: the event that was heard or not; None for all that the version was flagged for.
        timestamp: epoch seconds that the front end gives a rejected transcript in the stash; None for now.
        transcript: the text as the person corrected it, None where it was right.
        time: seconds into the conversation where the person heard the event, None where the scan was right.
    """

    conversation_id: str
    version_id: str
    answer: Said
    reviewer: str
    event: str | None = None
    reason: str | None = None
    timestamp: float | None = None
    transcript: str | None = None
    time: float | None = None


def reviews_of(database: Database[dict[str, Any]], conversation_id: str, version_id: str) -> list[dict[str, Any]]:
    """All reviews of a version, one for each event; a withdrawn answer is None."""
    return list(database[EVENT_REVIEWS].find({"conversation_id": conversation_id, "version_id": version_id}))


def events_of(
    database: Database[dict[str, Any]], conversation_id: str, version_id: str, configured: Sequence[str]
) -> list[str]:
    """The events a version was flagged for; without a scan (another program set the flag) the first configured one."""
    of_version = {"conversation_id": conversation_id, "version_id": version_id, "flagged": True}
    flagged = sorted(scan["event"] for scan in database[EVENT_SCANS].find(of_version, {"event": 1}))
    return flagged or [configured[0]]


def log_answer(database: Database[dict[str, Any]], answer: Answer, event: str) -> int:
    """Write the answer down; the same answer again changes nothing, another one moves the old to `history`.

    Returns:
        The review's revision, which `log_withdrawal` wants.
    """
    key = {"conversation_id": answer.conversation_id, "version_id": answer.version_id, "event": event}
    said = {"answer": answer.answer, "reason": answer.reason, "transcript": answer.transcript, "time": answer.time}
    while True:
        known = database[EVENT_REVIEWS].find_one(key)
        if known and all(known.get(name) == value for name, value in said.items()):
            return known.get("revision", 0)
        change = said | {"reviewer": answer.reviewer, "reviewed_at": datetime.now(UTC), "timestamp": answer.timestamp}
        if known is None:
            try:
                _journaled(database).insert_one(
                    key | change | _heard(database, key) | {"history": [], "revision": 1, "settled": False}
                )
            except DuplicateKeyError:
                continue  # somebody answered at the same moment: theirs becomes history
            return 1
        if known.get("answer") is None:  # taken back; another adapter may have flagged it since
            change |= _heard(database, key)
        revision = _change(database, known, change)
        if revision:
            return revision


def log_withdrawal(
    database: Database[dict[str, Any]],
    conversation_id: str,
    version_id: str,
    event: str,
    *,
    revision: int,
    reviewer: str,
) -> None:
    """Take an answer back: the version waits for an answer again, and the history keeps what was said.

    Raises:
        AnswerChanged: the review is no longer at `revision`.
    """
    key = {"conversation_id": conversation_id, "version_id": version_id, "event": event}
    known = database[EVENT_REVIEWS].find_one(key)
    change = dict.fromkeys(_KEPT) | {"reviewer": reviewer, "reviewed_at": datetime.now(UTC)}
    if known and known.get("answer") is None and known.get("revision") == revision + 1:
        return  # taken back already: the first request got through and its reply was lost
    if known is None or known.get("revision", 0) != revision or not _change(database, known, change):
        raise AnswerChanged("somebody has answered this since; it was not taken back")


def ensure_review_indexes(database: Database[dict[str, Any]]) -> None:
    """Index what is not carried out: looking for it costs the same whatever the history."""
    database[EVENT_REVIEWS].create_index("settled", partialFilterExpression={"settled": False})
    database[EVENT_REVIEWS].create_index("settling", sparse=True)


def find_unsettled(database: Database[dict[str, Any]]) -> list[dict[str, Any]]:
    """The versions of the reviews that are not carried out, or that somebody began to carry out who has not ended."""
    unsettled = {"$or": [{"settled": False}, {"settling": {"$type": "objectId"}}]}
    return list(database[EVENT_REVIEWS].find(unsettled, {"conversation_id": 1, "version_id": 1}))


def begin_settling(database: Database[dict[str, Any]], conversation_id: str, version_id: str, who: ObjectId) -> None:
    """Put on record that somebody is about to carry out what the reviews of a version say, before they are read.

    Who is overtaken by another answer, writes what the earlier one said, and dies before seeing the later, leaves
    stash and flag wrong though that later one was carried out: this record is what is left to tell of it.
    """
    of_version = {"conversation_id": conversation_id, "version_id": version_id}
    database[EVENT_REVIEWS].update_many(of_version, {"$addToSet": {"settling": who}})


def end_settling(database: Database[dict[str, Any]], reviews: Sequence[dict[str, Any]], who: ObjectId) -> bool:
    """Mark a version's reviews as carried out; False if any of them has changed meanwhile, or another has come.

    Args:
        reviews: all of the version, as they were read after `begin_settling`.
    """
    of_version = reviews[0]["conversation_id"], reviews[0]["version_id"]
    if _revisions(reviews_of(database, *of_version)) != _revisions(reviews):
        return False
    # Others who began keep their record: they may have read something older, and write it yet.
    earliest = datetime.now(UTC) - _SETTLING_TIME
    begun = {one for review in reviews for one in review.get("settling", [])}
    ended = [who, *(one for one in begun if one.generation_time < earliest)]
    marked = [
        _journaled(database).update_one(
            {"_id": review["_id"], "revision": review.get("revision")},
            {"$set": {"settled": True}, "$pull": {"settling": {"$in": ended}}},
        )
        for review in reviews
    ]
    return all(result.matched_count for result in marked)


def give_up_settling(database: Database[dict[str, Any]], conversation_id: str, version_id: str) -> None:
    """Let the answers on a version that is gone stand in the log alone."""
    of_version = {"conversation_id": conversation_id, "version_id": version_id}
    _journaled(database).update_many(of_version, {"$set": {"settled": True, "settling": []}})


def _revisions(reviews: Sequence[dict[str, Any]]) -> dict[Any, int | None]:
    return {review["_id"]: review.get("revision") for review in reviews}


def _change(database: Database[dict[str, Any]], known: dict[str, Any], change: dict[str, Any]) -> int | None:
    """Replace what `known` says, if it still says that; the new revision."""
    before = {name: known.get(name) for name in _KEPT if known.get(name) is not None}
    revision = known.get("revision", 0) + 1
    result = _journaled(database).update_one(
        {"_id": known["_id"], "revision": known.get("revision")},
        {
            "$set": change | {"revision": revision, "settled": False},
            "$push": {"history": {"$each": [before], "$slice": -_HISTORY_LIMIT}},
        },
    )
    return revision if result.matched_count else None


def _heard(database: Database[dict[str, Any]], key: dict[str, Any]) -> dict[str, Any]:
    """What the scan said of the event when the person answered."""
    scan = database[EVENT_SCANS].find_one(key) or {}
    return {name: scan.get(name) for name in ("adapter", "score", "threshold")}


def _journaled(database: Database[dict[str, Any]]) -> Collection[dict[str, Any]]:
    return database.get_collection(EVENT_REVIEWS, write_concern=JOURNALED)
