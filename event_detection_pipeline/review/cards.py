"""Cards: one event of one flagged version that waits for a person's answer, and all that is shown of it."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pymongo.database import Database

from event_detection_pipeline.chronicle.chunks import chunk_headers
from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, EVENT_SCANS
from event_detection_pipeline.chronicle.documents import Document, TranscriptVersion, parse_date
from event_detection_pipeline.chronicle.queries import get_conversation
from event_detection_pipeline.review.flagged import EVERYBODY, is_active, number_or_zero
from event_detection_pipeline.review.reviews import reviews_of
from event_detection_pipeline.scan.pending import ANSWERS

_WORDS_SHOWN_SECONDS = 45.0  # before and after the event; a two-hour transcript has 15 000 words
_BATCH = 500
_EVERYTHING_SECONDS = 3600.0
_KEY_FIELDS = {"conversation_id": 1, "version_id": 1, "event": 1}


class Key(NamedTuple):
    """What a card is about."""

    conversation_id: str
    version_id: str
    event: str


@dataclass(frozen=True, slots=True)
class Card:
    """What the queue knows of a card.

    Attributes:
        score, threshold, adapter: of the scan; None where another program set the flag.
        time: seconds into the conversation where the event was heard; None where unknown.
        recorded_at: when the conversation was recorded.
    """

    key: Key
    adapter: str | None
    score: float | None
    threshold: float | None
    time: float | None
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class ShownWord:
    """A word with its place; seconds from the start of the conversation."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Content:
    """What a person sees and hears of a card. `words` are those around the event, if their times are known."""

    title: str
    transcript: str
    words: tuple[ShownWord, ...]
    duration: float


def ensure_card_indexes(database: Database[dict[str, Any]]) -> None:
    """Index our own collections for the queue and for today's count."""
    database[EVENT_SCANS].create_index([("flagged", 1), ("conversation_id", 1)])
    database[EVENT_REVIEWS].create_index("reviewed_at")


def find_cards(
    database: Database[dict[str, Any]],
    configured: Sequence[str],
    of: Document = EVERYBODY,
    *,
    also: Collection[str] = (),
) -> list[Card]:
    """Every event of every active version that waits for an answer, in no order, at the cost of what is flagged now.

    Looks at the flagged conversations, and at `also`: there a flag that Chronicle overwrote is set again, which
    `event_scans` knows of.

    Args:
        configured: names of the configured events; the first stands in where no scan says what was heard.
        of: which conversations, as a query; such as those of one user.
        also: ids of conversations in which something may wait though their flag doesn't say so.
    """
    versions = list(_active_versions(database, {"transcript_versions.maybe_anomaly": True, **of}))
    unseen = sorted(set(also) - {version.id[0] for version in versions})
    for start in range(0, len(unseen), _BATCH):
        of_batch = {"conversation_id": {"$in": unseen[start : start + _BATCH]}, **of}
        versions += _active_versions(database, of_batch)
    cards: list[Card] = []
    for start in range(0, len(versions), _BATCH):
        cards += _cards_of(database, versions[start : start + _BATCH], configured)
    return cards


def find_unanswered(database: Database[dict[str, Any]]) -> set[str]:
    """The conversations in which a scan flagged something that nobody has answered, whatever their flag says.

    Reads the keys of all flags and answers there ever were.
    """
    answered = {key_of(review) for review in database[EVENT_REVIEWS].find({"answer": {"$ne": None}}, _KEY_FIELDS)}
    flagged = database[EVENT_SCANS].find({"flagged": True}, _KEY_FIELDS)
    return {scan["conversation_id"] for scan in flagged if key_of(scan) not in answered}


class CardFinder:
    """Finds the cards again and again, at the cost of what waits and of what was answered in the last hour.

    What waits while its flag doesn't say so was a card in the last look (Chronicle overwrote the flag, or one of two
    events was accepted), or was answered since (an answer was taken back). Anything else is found within the hour.

    Args:
        configured, of: as for `find_cards`.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        database: Database[dict[str, Any]],
        configured: Sequence[str],
        of: Document = EVERYBODY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._configured, self._of, self._clock = database, configured, of, clock
        self._shown: set[str] = set()
        self._everything = -math.inf  # when all was looked at
        self._answered_since = datetime.now(UTC)

    def __call__(self) -> list[Card]:
        began, now = self._clock(), datetime.now(UTC)
        everything = began - self._everything >= _EVERYTHING_SECONDS
        if everything:
            also = find_unanswered(self._database)
        else:
            since = {"reviewed_at": {"$gte": self._answered_since}}
            also = self._shown.union(self._database[EVENT_REVIEWS].distinct("conversation_id", since))
        cards = find_cards(self._database, self._configured, self._of, also=also)
        self._shown = {card.key.conversation_id for card in cards}
        if everything:
            self._everything, self._answered_since = began, now
        return cards


def key_of(document: Document) -> Key:
    """The key in a scan or a review."""
    return Key(document["conversation_id"], document["version_id"], document["event"])


def card_of(key: Key, scan: Document, recorded_at: datetime | None) -> Card:
    """A card with what a scan heard; an empty document where there was none."""
    return Card(key, scan.get("adapter"), scan.get("score"), scan.get("threshold"), scan.get("time"), recorded_at)


def load_content(database: Database[dict[str, Any]], card: Card) -> Content | None:
    """What to show of a card; None where the version is gone, answered elsewhere, or not the active one any more."""
    conversation_id, version_id, event = card.key
    conversation = get_conversation(database, conversation_id, version_id=version_id)
    version = conversation.version(version_id) if conversation else None
    if conversation is None or version is None or conversation.deleted:
        return None
    if not is_active(version_id, conversation.active_version_id):
        return None
    answers = {r["event"] for r in reviews_of(database, conversation_id, version_id) if r.get("answer")}
    if event in answers or (version.maybe_anomaly in ANSWERS and not answers):
        return None
    return Content(
        conversation.title,
        version.transcript,
        _words_around(version, card.time),
        _duration(database, conversation_id, version),
    )


@dataclass(frozen=True, slots=True)
class _ActiveVersion:
    id: tuple[str, str]
    flag: object
    recorded_at: datetime | None


def _cards_of(
    database: Database[dict[str, Any]], versions: Sequence[_ActiveVersion], configured: Sequence[str]
) -> Iterator[Card]:
    of_these = {"conversation_id": {"$in": [version.id[0] for version in versions]}}
    reviews = database[EVENT_REVIEWS].find(of_these | {"answer": {"$ne": None}}, _KEY_FIELDS)
    answered = {key_of(review) for review in reviews}
    answered_versions = {key[:2] for key in answered}
    scans: defaultdict[tuple[str, str], list[Document]] = defaultdict(list)
    for scan in database[EVENT_SCANS].find(of_these | {"flagged": True}):
        if key_of(scan) not in answered:
            scans[scan["conversation_id"], scan["version_id"]].append(scan)
    for version in versions:
        waiting = scans[version.id]
        if version.id not in answered_versions:
            if version.flag in ANSWERS:  # somebody answered in Chronicle itself
                continue
            if version.flag is True and not waiting:
                waiting = [{"event": configured[0]}]
        if waiting and version.flag not in (True, *ANSWERS):
            _flag_again(database, version)
        for scan in waiting:
            yield card_of(Key(*version.id, scan["event"]), scan, version.recorded_at)


def _active_versions(database: Database[dict[str, Any]], query: Document) -> Iterator[_ActiveVersion]:
    """The active versions of the undeleted conversations that match; all versions where none is named active."""
    fields = {
        "conversation_id": 1,
        "created_at": 1,
        "active_transcript_version": 1,
        "transcript_versions.version_id": 1,
        "transcript_versions.maybe_anomaly": 1,
    }
    for document in database[CONVERSATIONS].find({"deleted": {"$ne": True}, **query}, fields):
        conversation_id, versions = document.get("conversation_id"), document.get("transcript_versions")
        if not isinstance(conversation_id, str) or not isinstance(versions, list):
            continue
        active, recorded_at = document.get("active_transcript_version"), parse_date(document.get("created_at"))
        for version in versions:
            version_id = version.get("version_id") if isinstance(version, Mapping) else None
            if isinstance(version_id, str) and is_active(version_id, active):
                yield _ActiveVersion((conversation_id, version_id), version.get("maybe_anomaly"), recorded_at)


def _flag_again(database: Database[dict[str, Any]], version: _ActiveVersion) -> None:
    conversation_id, version_id = version.id
    of_version = {"version_id": version_id, "maybe_anomaly": {"$nin": [True, *ANSWERS]}}
    database[CONVERSATIONS].update_one(
        {"conversation_id": conversation_id, "transcript_versions": {"$elemMatch": of_version}},
        {"$set": {"transcript_versions.$.maybe_anomaly": True}},
    )


def _words_around(version: TranscriptVersion, time: float | None) -> tuple[ShownWord, ...]:
    if time is None:
        return ()
    return tuple(
        ShownWord(word.text, word.start, word.end)
        for word in version.words
        if word.start is not None and word.end is not None and abs(word.start - time) <= _WORDS_SHOWN_SECONDS
    )


def _duration(database: Database[dict[str, Any]], conversation_id: str, version: TranscriptVersion) -> float:
    """Seconds of the conversation: as Chronicle says, else the sum of its chunks, else where the words end."""
    document = database[CONVERSATIONS].find_one({"conversation_id": conversation_id}, {"audio_total_duration": 1}) or {}
    headers = chunk_headers(database, [conversation_id])[conversation_id]
    return (
        number_or_zero(document.get("audio_total_duration"))
        or sum(number_or_zero(header.get("duration")) for header in headers)
        or max((word.end for word in version.words if word.end is not None), default=0.0)
    )
