"""What all calls of the API share."""

from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_SCANS
from event_detection_pipeline.chronicle.documents import Document, parse_date
from event_detection_pipeline.config import Settings
from event_detection_pipeline.review.audio import WavFiles
from event_detection_pipeline.review.cards import Card, CardFinder, Key, card_of
from event_detection_pipeline.review.flagged import EVERYBODY
from event_detection_pipeline.review.queue import Queue


@dataclass(frozen=True, slots=True)
class Service:
    """The database and the settings of one server, its queue and its open audio."""

    database: Database[dict[str, Any]]
    settings: Settings
    audio: WavFiles = field(init=False)
    queue: Queue = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "audio", WavFiles(self.database))
        order = self.settings.review.order
        object.__setattr__(self, "queue", Queue(CardFinder(self.database, self.events, self.of), order))

    @property
    def events(self) -> list[str]:
        """The configured events' names."""
        return [event.name for event in self.settings.events]

    @property
    def of(self) -> Document:
        """Which conversations this server is for, as a query: everybody's, or those of `review.user_id`."""
        user_id = self.settings.review.user_id
        return {"user_id": user_id} if user_id else EVERYBODY

    def serves(self, conversation_id: str) -> bool:
        """Whether a conversation is one of those; of another user's this server says that there is none."""
        of_it = {"conversation_id": conversation_id, **self.of}
        return not self.of or self.database[CONVERSATIONS].find_one(of_it, {"_id": 1}) is not None

    def knows(self, key: Key) -> bool:
        """Whether the event is configured, or was scanned for in this version."""
        return key.event in self.events or self.database[EVENT_SCANS].find_one(key._asdict(), {"_id": 1}) is not None

    def card(self, key: Key) -> Card:
        """A card by its key, as the scan described it."""
        scan = self.database[EVENT_SCANS].find_one(key._asdict()) or {}
        conversation = self.database[CONVERSATIONS].find_one(
            {"conversation_id": key.conversation_id}, {"created_at": 1}
        )
        return card_of(key, scan, parse_date((conversation or {}).get("created_at")))


def service_of(request: Request) -> Service:
    """The service that this request is made to."""
    return request.app.state.service
