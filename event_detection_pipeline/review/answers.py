"""What a person's answer does: the log first, then the stash and the flag, which follow from the log.

An answer that was cut short anywhere is carried out again by the same call, by the next answer of that version, or by
`settle_unfinished` when the server starts; carrying one out twice changes nothing.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bson import ObjectId
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS
from event_detection_pipeline.chronicle.documents import Document
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.review import stash
from event_detection_pipeline.review.reviews import (
    Answer,
    begin_settling,
    end_settling,
    events_of,
    find_unsettled,
    give_up_settling,
    log_answer,
    log_withdrawal,
    reviews_of,
)

logger = logging.getLogger(__name__)

Verdict = Literal["verified", "rejected", True]

_FIELDS = {
    "conversation_id": 1,
    "user_id": 1,
    "client_id": 1,
    "deleted": 1,
}


class ConversationNotFound(PipelineError):
    """No such conversation, or it was deleted."""


class VersionNotFound(PipelineError):
    """The conversation has no such transcript version."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An answer as it was written: the revision of each event's review, and the stash entry of a rejected version."""

    revisions: dict[str, int]
    stash_id: str | None


def record(
    database: Database[dict[str, Any]], answer: Answer, *, configured: Sequence[str], copy_audio: bool
) -> Recorded:
    """Write an answer down and carry it out; the same answer again changes nothing.

    Args:
        configured: names of the configured events; the first stands in where no scan says what was heard.
        copy_audio: whether the stash gets copies of the audio chunks (within bounds) or only refers to them.

    Raises:
        ConversationNotFound, VersionNotFound: there is nothing to answer; nothing was written.
    """
    conversation, _ = _load(database, answer.conversation_id, answer.version_id)
    if conversation.get("deleted") is True:
        raise ConversationNotFound(f"conversation {answer.conversation_id} was deleted")
    events = (
        [answer.event] if answer.event else events_of(database, answer.conversation_id, answer.version_id, configured)
    )
    revisions = {event: log_answer(database, answer, event) for event in events}
    logger.info(
        "%s %s version %s of conversation %s (%s)",
        answer.reviewer,
        answer.answer,
        answer.version_id,
        answer.conversation_id,
        ", ".join(events),
    )
    stash_id = settle(database, answer.conversation_id, answer.version_id, copy_audio=copy_audio)
    return Recorded(revisions, stash_id)


def withdraw(
    database: Database[dict[str, Any]],
    conversation_id: str,
    version_id: str,
    event: str,
    *,
    revision: int,
    reviewer: str,
) -> None:
    """Undo the answer that was given `revision`: out of the stash, and flagged for an answer again.

    Raises:
        ConversationNotFound, VersionNotFound: the version is gone.
        AnswerChanged: somebody else has answered since.
    """
    _load(database, conversation_id, version_id)
    log_withdrawal(database, conversation_id, version_id, event, revision=revision, reviewer=reviewer)
    logger.info("%s took back the answer on version %s of conversation %s", reviewer, version_id, conversation_id)
    settle(database, conversation_id, version_id, copy_audio=False)


def settle(
    database: Database[dict[str, Any]], conversation_id: str, version_id: str, *, copy_audio: bool
) -> str | None:
    """Make stash and flag of a version say what its reviews say. Returns the id of its stash entry, if it has one.

    Raises:
        ConversationNotFound, VersionNotFound: the version is gone.
    """
    who = ObjectId()
    seen: set[ObjectId] = set()
    while True:
        conversation, version = _load(database, conversation_id, version_id)
        begin_settling(database, conversation_id, version_id, who)
        reviews = reviews_of(database, conversation_id, version_id)
        review_ids = {review["_id"] for review in reviews}
        if not reviews or seen - review_ids:  # forgotten meanwhile, perhaps after an entry was put
            stash.remove(database, conversation_id, version, seen)
        if not reviews:
            return None
        seen = review_ids
        verdict = verdict_of(reviews, events_of(database, conversation_id, version_id, [""]))
        entry = None
        if verdict == "rejected":
            said = max((review for review in reviews if review["answer"]), key=lambda review: review["reviewed_at"])
            entry = str(stash.put(database, conversation, version, said, review_ids, copy_audio=copy_audio))
        else:
            stash.remove(database, conversation_id, version, review_ids)
        _write_flag(database, conversation_id, version_id, verdict, reviews)
        # An answer that came in between is carried out by whoever sees it last.
        if end_settling(database, reviews, who):
            return entry


def settle_unfinished(database: Database[dict[str, Any]], *, copy_audio: bool) -> int:
    """Carry out the answers that a crash cut short; how many there were."""
    cut_short = find_unsettled(database)
    for conversation_id, version_id in {(review["conversation_id"], review["version_id"]) for review in cut_short}:
        try:
            settle(database, conversation_id, version_id, copy_audio=copy_audio)
        except (ConversationNotFound, VersionNotFound) as error:
            logger.warning("an answer stays in the log only: %s", error)
            give_up_settling(database, conversation_id, version_id)
    return len(cut_short)


def verdict_of(reviews: Iterable[Document], flagged: Iterable[str]) -> Verdict:
    """What the flag of a version must say: True while an event that it was flagged for waits for an answer.

    One accepted event is enough for "verified"; "rejected" means that nothing of what was flagged is there.

    Args:
        flagged: the events it was flagged for.
    """
    answers = {review["event"]: review.get("answer") for review in reviews}
    if "accepted" in answers.values():
        return "verified"
    answered = {event for event, answer in answers.items() if answer}
    return "rejected" if answered and answered.issuperset(set(flagged) - {""}) else True


def _write_flag(
    database: Database[dict[str, Any]],
    conversation_id: str,
    version_id: str,
    verdict: Verdict,
    reviews: Sequence[Document],
) -> None:
    times = [
        review for review in reviews if review.get("answer") == ("accepted" if verdict == "verified" else "rejected")
    ]
    last = max(times, key=lambda review: review["reviewed_at"], default=None)
    values: dict[str, Any] = {
        "maybe_anomaly": verdict,
        "verified_at": None,
        "rejected_at": None,
        "rejected_reason": None,
    }
    if verdict == "verified" and last:
        values["verified_at"] = last["reviewed_at"].isoformat()
    elif verdict == "rejected" and last:
        values |= {"rejected_at": last["reviewed_at"].isoformat(), "rejected_reason": last.get("reason")}
    # Chronicle may be saving this document: only these fields of this version are touched.
    database[CONVERSATIONS].update_one(
        {"conversation_id": conversation_id, "transcript_versions": {"$elemMatch": {"version_id": version_id}}},
        {"$set": {f"transcript_versions.$.{name}": value for name, value in values.items()}},
    )


def _load(
    database: Database[dict[str, Any]], conversation_id: str, version_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The conversation, and the one version of it as stored."""
    version = {"transcript_versions": {"$elemMatch": {"version_id": version_id}}}
    conversation = database[CONVERSATIONS].find_one({"conversation_id": conversation_id}, _FIELDS | version)
    if conversation is None:
        raise ConversationNotFound(f"there is no conversation {conversation_id}")
    versions = conversation.get("transcript_versions")
    if not versions:
        raise VersionNotFound(f"conversation {conversation_id} has no transcript version {version_id}")
    return conversation, versions[0]
