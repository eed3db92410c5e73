"""The flagged versions that wait for an answer, as Chronicle's front end lists them."""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, EVENT_SCANS
from event_detection_pipeline.chronicle.documents import Conversation, Document, TranscriptVersion, parse_conversation
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.review.answers import ConversationNotFound, VersionNotFound, settle, verdict_of

logger = logging.getLogger(__name__)

EVERYBODY: Document = {}

_FIELDS = {
    "conversation_id": 1,
    "created_at": 1,
    "active_transcript_version": 1,
    "audio_total_duration": 1,
    "transcript_versions.version_id": 1,
    "transcript_versions.transcript": 1,
    "transcript_versions.created_at": 1,
    "transcript_versions.maybe_anomaly": 1,
    "transcript_versions.metadata.word_count": 1,
    "transcript_versions.segments.speaker": 1,
    "transcript_versions.words.word": 1,
}


@dataclass(frozen=True, slots=True)
class FlaggedVersion:
    """A flagged version in Chronicle's words: `timestamp` is when it was made (epoch seconds, 0 if unknown)."""

    version_id: str
    conversation_id: str
    transcript: str
    timestamp: float
    audio_duration: float
    speaker_count: int
    word_count: int


def iter_flagged(
    database: Database[dict[str, Any]], *, of: Document = EVERYBODY, all_versions: bool = False
) -> Iterator[FlaggedVersion]:
    """Flagged versions of undeleted conversations, oldest conversation first; only active ones unless asked.

    A document that cannot be read is left out, and never keeps the others back.

    Args:
        of: which conversations, as a query; such as those of one user.
    """
    query = {"deleted": {"$ne": True}, "transcript_versions.maybe_anomaly": True, **of}
    for document in database[CONVERSATIONS].find(query, _FIELDS).sort("_id", 1):
        try:
            conversation = parse_conversation(document)
        except PipelineError as error:
            logger.warning("left out of the list: %s", error)
            continue
        for version in conversation.versions:
            active = is_active(version.version_id, conversation.active_version_id)
            if version.maybe_anomaly is True and (active or all_versions) and _waits(database, conversation, version):
                yield _flagged(document, conversation, version)


def is_active(version_id: str, named: object) -> bool:
    """Whether a version is the one that Chronicle shows, `named` as the active one; where none is, each may be it."""
    return not isinstance(named, str) or named.strip() in ("", version_id.strip())


def _waits(database: Database[dict[str, Any]], conversation: Conversation, version: TranscriptVersion) -> bool:
    """Whether an answer is still due. Chronicle can overwrite the flag of an answered version: it is set again."""
    of_version = {"conversation_id": conversation.conversation_id, "version_id": version.version_id}
    reviews = list(database[EVENT_REVIEWS].find(of_version, {"event": 1, "answer": 1}))
    if not reviews:
        return True
    flagged = [scan["event"] for scan in database[EVENT_SCANS].find(of_version | {"flagged": True}, {"event": 1})]
    if verdict_of(reviews, flagged) is True:
        return True
    try:
        settle(database, conversation.conversation_id, version.version_id, copy_audio=False)
    except (ConversationNotFound, VersionNotFound):
        logger.info("version %s went away while it was listed", version.version_id)
    return False


def _flagged(document: Document, conversation: Conversation, version: TranscriptVersion) -> FlaggedVersion:
    created_at = version.created_at or conversation.created_at
    raw = next(v for v in document["transcript_versions"] if isinstance(v, Mapping) and _same(v, version))
    metadata = raw.get("metadata")
    count = metadata.get("word_count") if isinstance(metadata, Mapping) else None
    return FlaggedVersion(
        version_id=version.version_id,
        conversation_id=conversation.conversation_id,
        transcript=version.transcript,
        timestamp=created_at.timestamp() if created_at else 0.0,
        audio_duration=number_or_zero(document.get("audio_total_duration")),
        speaker_count=len({segment.speaker for segment in version.segments if segment.speaker}),
        word_count=int(number_or_zero(count)) or len(version.words) or len(version.transcript.split()),
    )


def number_or_zero(value: object) -> float:
    """A count or a length as stored, or 0 where there is none that makes sense."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return max(float(value), 0.0)


def _same(raw: Document, version: TranscriptVersion) -> bool:
    return str(raw.get("version_id")).strip() == version.version_id
