"""A conversation with what people said about it, and the event's tag where they, or a recogniser, put it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS, EVENT_SCANS
from event_detection_pipeline.chronicle.documents import (
    Conversation,
    Document,
    MalformedDocument,
    Segment,
    StashEntry,
    TranscriptVersion,
    Word,
    parse_date,
    parse_stash_entry,
)
from event_detection_pipeline.chronicle.queries import get_conversation, stash_document
from event_detection_pipeline.clips.rejects import RejectReason, SetAside
from event_detection_pipeline.clips.sources import BACKGROUND, STASH, Candidate
from event_detection_pipeline.clips.text import join, only_tag
from event_detection_pipeline.clips.timeline import are_times
from event_detection_pipeline.config import EventSettings, Settings


@dataclass(frozen=True, slots=True)
class Labelled:
    """A candidate with its text and times, ready to be cut.

    Attributes:
        text: with this event's tag and no other's.
        event_segments: (start, end) seconds that the recogniser itself marked as the event.
        time: seconds where the flag was heard, None where no scan or person said.
    """

    candidate: Candidate
    text: str
    words: tuple[Word, ...]
    segments: tuple[Segment, ...]
    event_segments: tuple[tuple[float, float], ...]
    time: float | None
    timestamp: datetime


class EventTexts:
    """How an event is written: its tag, what recognisers write for it, and other events' tags, which are left out."""

    def __init__(self, event: EventSettings, settings: Settings) -> None:
        tags = {other.name: other.source_tag for other in settings.events}
        self.tag = event.source_tag
        self._stands_for = {f"[{name}]".casefold(): tag for name, tag in tags.items()}
        configured = settings.clips.event_segments.items()
        self._stands_for |= {text.casefold(): tags.get(name, "") for text, name in configured}
        self._others = tuple(tag for tag in tags.values() if tag != self.tag)

    def clean(self, text: str) -> str:
        """The text with this event's tag alone."""
        return only_tag(text, self.tag, self._stands_for, self._others)

    def without_event(self, text: str) -> str:
        """The text without the event, whoever wrote it there."""
        return join([self.clean(text).replace(self.tag, " ")])

    def without_marks(self, text: str) -> str:
        """The text without what recognisers write for the event; a person's tag stays."""
        return join([self.tag.join(f" {self.without_event(part)} " for part in text.split(self.tag))])

    def words(self, words: Iterable[Word]) -> tuple[Word, ...]:
        return tuple(replace(word, text=self.clean(word.text)) if word.text[:1] in "<[" else word for word in words)

    def is_event(self, segment: Segment) -> bool:
        return segment.text == self.tag or self._stands_for.get(segment.text.casefold()) == self.tag


def load(database: Database[dict[str, Any]], candidate: Candidate, event: EventSettings, texts: EventTexts) -> Labelled:
    """Read what the candidate's clips need.

    Raises:
        SetAside: there is no text and nobody said that nothing is said, or the document is malformed.
    """
    try:
        conversation = get_conversation(database, candidate.conversation_id, version_id=candidate.version_id)
    except MalformedDocument as error:
        raise SetAside(RejectReason.MALFORMED_DOCUMENT, str(error)) from error
    version = conversation and conversation.version(candidate.version_id or conversation.active_version_id)
    entry = stash_document(database, candidate.document_id) if candidate.source == STASH else None
    stashed = parse_stash_entry(entry) if entry else None
    of_version = {"conversation_id": candidate.conversation_id, "version_id": candidate.version_id, "event": event.name}
    review = database[EVENT_REVIEWS].find_one(of_version) or {}
    scan = database[EVENT_SCANS].find_one(of_version, {"time": 1}) or {}
    segments = (version and version.segments) or (stashed and stashed.segments) or ()
    corrected = _corrected(entry or {}, stashed, review, version)
    transcript = _recognised(version, segments) if corrected is None else corrected
    text, marked = _label(candidate, transcript, segments, review, texts)
    if not text and corrected is None and not candidate.contains_event:
        raise SetAside(RejectReason.NO_TRANSCRIPT)
    return Labelled(
        candidate=candidate,
        text=text,
        words=texts.words(version.words) if version else (),
        segments=segments,
        event_segments=marked,
        time=next((time for time in (_time(review), _time(scan)) if time is not None), None),
        timestamp=_timestamp(stashed, review, conversation),
    )


def _label(
    candidate: Candidate, transcript: str, segments: tuple[Segment, ...], review: Document, texts: EventTexts
) -> tuple[str, tuple[tuple[float, float], ...]]:
    """The text with the tag where the event is said to be, and the seconds that a recogniser marked as the event."""
    marked = tuple(
        (segment.start, segment.end)
        for segment in segments
        if texts.is_event(segment)
        and segment.start is not None
        and segment.end is not None
        and are_times(segment.start, segment.end)
    )
    if candidate.source == BACKGROUND and (marked or texts.tag in texts.clean(transcript)):
        raise SetAside(RejectReason.NOT_EVENT_FREE)
    if candidate.contains_event is False:
        return texts.without_event(transcript), ()
    if candidate.source == STASH and review.get("answer") == "rejected":
        # The person said that the recogniser was wrong; a tag of their own still counts.
        return texts.clean(texts.without_marks(transcript)), ()
    return texts.clean(transcript), marked


def _corrected(
    entry: Document, stashed: StashEntry | None, review: Document, version: TranscriptVersion | None
) -> str | None:
    """What a person wrote last, be it that nothing is said; None where nobody wrote anything.

    The empty text of a stash entry is a person's only if there was a text to correct: Chronicle copies what it has.
    """
    emptied = version and version.transcript and isinstance(entry.get("transcript"), str)
    if stashed and (stashed.transcript or emptied):
        return stashed.transcript
    written = review.get("transcript")
    return written if isinstance(written, str) else None


def _recognised(version: TranscriptVersion | None, segments: tuple[Segment, ...]) -> str:
    """The recogniser's text; else its segments'."""
    spoken = " ".join(segment.text for segment in segments if segment.kind == "speech")
    return (version and version.transcript) or spoken


def _timestamp(stashed: StashEntry | None, review: Document, conversation: Conversation | None) -> datetime:
    dates = (
        stashed and stashed.created_at,
        parse_date(review.get("reviewed_at")),
        conversation and conversation.created_at,
    )
    return next((date for date in dates if date), datetime.fromtimestamp(0, UTC))


def _time(document: Mapping[str, Any]) -> float | None:
    time = document.get("time")
    return float(time) if isinstance(time, int | float) and not isinstance(time, bool) and time >= 0 else None
