"""Chronicle's documents as typed values, whatever odd form the app stored them in.

Every field may be missing, null or of an older type; what cannot be used at all raises MalformedDocument.
All times inside a conversation are seconds from its start.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from event_detection_pipeline.errors import PipelineError

Document = Mapping[str, Any]
Flag = bool | Literal["verified", "rejected"]

# An epoch above this is in milliseconds: as seconds it would lie in the year 5138.
_MILLISECONDS_FROM = 1e11


class MalformedDocument(PipelineError):
    """A document lacks what it cannot be used without; the message names the document and the field."""


@dataclass(frozen=True, slots=True)
class Word:
    """A spoken word; its times are None where the recogniser gave none."""

    text: str
    start: float | None
    end: float | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a transcript: `speech`, an `event` such as `[laughter]`, or a `note`."""

    start: float | None
    end: float | None
    text: str
    speaker: str | None = None
    kind: str = "speech"


@dataclass(frozen=True, slots=True)
class TranscriptVersion:
    """One transcript of a conversation, and what was said about it: `maybe_anomaly` is None until somebody looked."""

    version_id: str
    transcript: str
    words: tuple[Word, ...] = ()
    segments: tuple[Segment, ...] = ()
    maybe_anomaly: Flag | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A recorded conversation with all its transcripts."""

    conversation_id: str
    created_at: datetime | None
    title: str
    deleted: bool
    active_version_id: str | None
    versions: tuple[TranscriptVersion, ...]

    def version(self, version_id: str | None) -> TranscriptVersion | None:
        """The version of that id, or None."""
        return next((version for version in self.versions if version.version_id == version_id), None)

    @property
    def active_version(self) -> TranscriptVersion | None:
        return self.version(self.active_version_id)


@dataclass(frozen=True, slots=True)
class StashEntry:
    """A transcript that a person put aside for training by rejecting its flag."""

    id: str
    conversation_id: str
    version_id: str | None
    transcript: str
    segments: tuple[Segment, ...] = ()
    reason: str | None = None
    created_at: datetime | None = None


def parse_conversation(document: Document) -> Conversation:
    """Read a document of `conversations`. Versions that cannot be used are left out.

    Raises:
        MalformedDocument: there is no conversation_id.
    """
    where = f"conversations document {document.get('_id')}"
    return Conversation(
        conversation_id=_required(document, "conversation_id", where),
        created_at=parse_date(document.get("created_at")),
        title=_text_or_none(document.get("title")) or "",
        deleted=document.get("deleted") is True,
        active_version_id=_text_or_none(document.get("active_transcript_version")),
        versions=tuple(
            parse_version(version)
            for version in _list(document.get("transcript_versions"))
            if isinstance(version, Mapping) and _text_or_none(version.get("version_id"))
        ),
    )


def parse_version(document: Document) -> TranscriptVersion:
    """Read one element of `transcript_versions`.

    Raises:
        MalformedDocument: there is no version_id.
    """
    segments = _segments(document.get("segments"))
    return TranscriptVersion(
        version_id=_required(document, "version_id", "a transcript version"),
        transcript=_transcript(document.get("transcript")),
        # Some providers put the words into the segments only.
        words=_words(document.get("words")) or _words_of_segments(document.get("segments")),
        segments=segments,
        maybe_anomaly=_flag(document.get("maybe_anomaly")),
        created_at=parse_date(document.get("created_at")),
    )


def parse_stash_entry(document: Document) -> StashEntry:
    """Read a document of `training_stash`; older ones say `version_id` for `transcript_version_id`.

    Raises:
        MalformedDocument: there is no conversation_id.
    """
    where = f"training_stash document {document.get('_id')}"
    return StashEntry(
        id=str(document.get("_id")),
        conversation_id=_required(document, "conversation_id", where),
        version_id=_text_or_none(document.get("transcript_version_id")) or _text_or_none(document.get("version_id")),
        transcript=_transcript(document.get("transcript")),
        segments=_segments(document.get("segments")),
        reason=_text_or_none(document.get("reason")),
        created_at=parse_date(document.get("created_at")) or parse_date(document.get("timestamp")),
    )


def parse_date(value: object) -> datetime | None:
    """A BSON date, an epoch in seconds or milliseconds, or an ISO string, as UTC; None for anything else."""
    try:
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, str):
            return parse_date(datetime.fromisoformat(value.strip()))
        number = _number(value)
        if number is None:
            return None
        return datetime.fromtimestamp(number / 1000 if abs(number) > _MILLISECONDS_FROM else number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _required(document: Document, field: str, where: str) -> str:
    value = _text_or_none(document.get(field))
    if value is None:
        raise MalformedDocument(f"{where}: {field} is missing")
    return value


def _text_or_none(value: object) -> str | None:
    """Strings, and ids that were stored as numbers; anything else is as good as missing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mappings(value: object) -> list[Document]:
    return [element for element in _list(value) if isinstance(element, Mapping)]


def _transcript(value: object) -> str:
    if isinstance(value, Mapping):  # legacy: the recogniser's whole answer
        value = next((value[key] for key in ("text", "transcript") if isinstance(value.get(key), str)), "")
    return value.strip() if isinstance(value, str) else ""


def _words(value: object) -> tuple[Word, ...]:
    words = (
        Word(
            text=text,
            start=_number(word.get("start")),
            end=_number(word.get("end")),
        )
        for word in _mappings(value)
        if (text := _text_or_none(word.get("word")) or _text_or_none(word.get("text")))
    )
    return tuple(words)


def _words_of_segments(value: object) -> tuple[Word, ...]:
    return tuple(word for segment in _mappings(value) for word in _words(segment.get("words")))


def _segments(value: object) -> tuple[Segment, ...]:
    segments = (
        Segment(
            start=_number(segment.get("start")),
            end=_number(segment.get("end")),
            text=_text_or_none(segment.get("text")) or "",
            speaker=_text_or_none(segment.get("speaker")),
            kind=_text_or_none(segment.get("segment_type")) or "speech",
        )
        for segment in _mappings(value)
    )
    return tuple(segments)


def _flag(value: object) -> Flag | None:
    if isinstance(value, bool):
        return value
    if value == "verified":
        return "verified"
    return "rejected" if value == "rejected" else None
