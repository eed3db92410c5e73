"""The page's own API: a leased queue, answers about single events, undo, skip and figures."""

import base64
import binascii
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StringConstraints

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS
from event_detection_pipeline.review.answers import ConversationNotFound, VersionNotFound, withdraw
from event_detection_pipeline.review.cards import Card, Content, Key, load_content
from event_detection_pipeline.review.contract import (
    AUDIO,
    NOT_FOUND,
    Id,
    Problem,
    open_audio,
    recorded_or_404,
    wav_response,
)
from event_detection_pipeline.review.queue import Order, rank
from event_detection_pipeline.review.reviews import Answer, AnswerChanged, Said
from event_detection_pipeline.review.service import Service, service_of

router = APIRouter(prefix="/v2", tags=["Page"])

# A browser tab; whoever knows one could only take its leases.
Client = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{8,64}$")]
Reviewer = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]

MAX_TRANSCRIPT = 500_000  # characters; two hours of speech are about 100 000


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # in UTC it is in the year 0 or 10000
        raise ValueError("outside the years 1 to 9999 in UTC") from None


# The database keeps moments in UTC.
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class CardId(BaseModel):
    """What a card is about."""

    conversation_id: Id
    version_id: Id
    event: Id

    @property
    def key(self) -> Key:
        return Key(self.conversation_id, self.version_id, self.event)


class QueuedCard(CardId):
    """A card as it stands in the queue; `time` is seconds into the conversation."""

    adapter: str | None
    score: float | None
    threshold: float | None
    time: float | None
    recorded_at: datetime | None


class Word(BaseModel):
    text: str
    start: float
    end: float


class FullCard(QueuedCard):
    """A card with all that is shown of it; `tag` is how the event is written in a transcript."""

    tag: str
    title: str
    transcript: str
    words: list[Word]
    duration: float


class QueuePage(BaseModel):
    cards: list[QueuedCard]
    next_cursor: str | None
    total: int


class Next(BaseModel):
    """Asks for cards to look at; those that this client holds are among them, and stay its own for another minute.

    `current` is the card in front of the person: the first of them unless somebody else holds or has answered it.
    """

    client: Client
    count: Annotated[int, Field(ge=1, le=50)] = 3
    event: Id | None = None
    current: CardId | None = None


class Cards(BaseModel):
    cards: list[FullCard]


class NewAnswer(CardId):
    """An answer to one card; `transcript` and `time` only where the person corrected them."""

    answer: Said
    reviewer: Reviewer = "somebody"
    reason: Annotated[str, StringConstraints(max_length=2000)] | None = None
    transcript: Annotated[str, StringConstraints(max_length=MAX_TRANSCRIPT)] | None = None
    time: Seconds | None = None


class Saved(BaseModel):
    """The answer is in the database; `revision` is what an undo must name."""

    revision: int


class Undo(CardId):
    """Takes back the answer that was saved as `revision`."""

    client: Client
    revision: Annotated[int, Field(ge=0, lt=2**31)]
    reviewer: Reviewer = "somebody"


class Skip(CardId):
    client: Client


class ByClient(BaseModel):
    client: Client


class Stats(BaseModel):
    """How much waits, and what was answered since a moment (such as midnight where the person is)."""

    waiting: int
    by_event: dict[str, int]
    skipped: int
    accepted: int
    rejected: int


@router.get("/queue", responses={422: {"model": Problem}})
def queue(
    request: Request,
    order: Order | None = None,
    event: Id | None = None,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> QueuePage:
    """What waits, whoever is looking at it. A cursor stays good while cards before it are answered."""
    service = service_of(request)
    order = order or service.settings.review.order
    cards = service.queue.ordered(order, event)
    after = _decode_cursor(cursor) if cursor else None
    rest = [card for card in cards if after is None or rank(card, order) > after]
    more = len(rest) > limit
    shown = rest[:limit]
    return QueuePage(
        cards=[QueuedCard(**_summary(card)) for card in shown],
        next_cursor=_encode_cursor(rank(shown[-1], order)) if more else None,
        total=len(cards),
    )


@router.post("/next")
def next_cards(request: Request, wanted: Next) -> Cards:
    """The next cards for this client. Nobody else gets them for a minute; asking again renews that."""
    service = service_of(request)
    current = wanted.current and wanted.current.key
    while True:
        cards = [
            (card, load_content(service.database, card))
            for card in service.queue.take(wanted.client, wanted.count, wanted.event, current)
        ]
        gone = [card.key for card, content in cards if content is None]
        if not gone:
            break
        service.queue.drop(gone)
    return Cards(cards=[_full(service, card, content) for card, content in cards if content])


@router.post("/answers", responses=NOT_FOUND)
def answer(request: Request, new: NewAnswer) -> Saved:
    """Save an answer. The same answer again changes nothing: send it until it is confirmed."""
    service = service_of(request)
    if not service.knows(new.key):
        raise HTTPException(404, f"Event {new.event} Not Found")
    return Saved(revision=recorded_or_404(service, Answer(**new.model_dump())).revisions[new.event])


@router.post("/undo", responses=NOT_FOUND | {409: {"model": Problem}})
def undo(request: Request, taken_back: Undo) -> Cards:
    """Take an answer back; the card comes back to this client. 409 where somebody else has answered since."""
    service = service_of(request)
    if not service.serves(taken_back.conversation_id):
        raise HTTPException(404, "Conversation Not Found")
    try:
        withdraw(
            service.database,
            *taken_back.key,
            revision=taken_back.revision,
            reviewer=taken_back.reviewer,
        )
    except (ConversationNotFound, VersionNotFound) as error:
        raise HTTPException(404, str(error)) from None
    except AnswerChanged as error:
        raise HTTPException(409, str(error)) from None
    card = service.card(taken_back.key)
    service.queue.give_back(taken_back.client, card)
    content = load_content(service.database, card)
    return Cards(cards=[_full(service, card, content)] if content else [])


@router.post("/skip", status_code=204, response_class=Response)
def skip(request: Request, skipped: Skip) -> None:
    """Leave a card to others; this client doesn't get it again until it asks for what it skipped."""
    service_of(request).queue.skip(skipped.client, skipped.key)


@router.post("/unskip", status_code=204, response_class=Response)
def unskip(request: Request, by: ByClient) -> None:
    """Show this client again what it skipped."""
    service_of(request).queue.unskip(by.client)


@router.get("/stats")
def stats(request: Request, since: Moment, client: Client | None = None) -> Stats:
    """How much waits, and what was answered since a moment."""
    service = service_of(request)
    by_event = service.queue.counts()
    return Stats(
        waiting=sum(by_event.values()),
        by_event=by_event,
        skipped=service.queue.skipped(client) if client else 0,
        accepted=_answered(service, "accepted", since),
        rejected=_answered(service, "rejected", since),
    )


@router.get("/audio/{conversation_id}", response_class=StreamingResponse, responses=AUDIO)
def audio(request: Request, conversation_id: Id, start: Seconds = 0.0, end: Seconds | None = None) -> Response:
    """The audio of a conversation from `start` to `end` seconds, all of it by default; any byte range of it."""
    return wav_response(request, open_audio(service_of(request), conversation_id, start, end), "inline")


def _answered(service: Service, said: Said, since: datetime) -> int:
    query = {"reviewed_at": {"$gte": since}, "answer": said}
    if not service.of:
        return service.database[EVENT_REVIEWS].count_documents(query)
    answered = [review["conversation_id"] for review in service.database[EVENT_REVIEWS].find(query)]
    of_these = {"conversation_id": {"$in": list(set(answered))}, **service.of}
    served = set(service.database[CONVERSATIONS].distinct("conversation_id", of_these))
    return sum(conversation_id in served for conversation_id in answered)


def _full(service: Service, card: Card, content: Content) -> FullCard:
    tags = {event.name: event.source_tag for event in service.settings.events}
    return FullCard(**_summary(card), **asdict(content), tag=tags.get(card.key.event, f"<{card.key.event}>"))


def _summary(card: Card) -> dict[str, Any]:
    return card.key._asdict() | {
        name: getattr(card, name) for name in ("adapter", "score", "threshold", "time", "recorded_at")
    }


def _encode_cursor(position: tuple[float, Key]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _decode_cursor(cursor: str) -> tuple[float, Key]:
    try:
        value, key = json.loads(base64.urlsafe_b64decode(cursor))
        return float(value), Key(*map(str, key))
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        raise HTTPException(422, "This cursor is not one that the queue gave out") from None
