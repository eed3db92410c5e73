"""Chronicle's user-loop API, call for call: what its own front end speaks."""

import logging
import re
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, StringConstraints

from event_detection_pipeline.chronicle.audio import AudioTooLong, NoAudio, UndecodableAudio
from event_detection_pipeline.chronicle.database import CONVERSATIONS
from event_detection_pipeline.review.answers import ConversationNotFound, Recorded, VersionNotFound, record
from event_detection_pipeline.review.audio import RangeNotSatisfiable, WavFile, parse_range
from event_detection_pipeline.review.cards import Key
from event_detection_pipeline.review.flagged import iter_flagged
from event_detection_pipeline.review.reviews import Answer, Said
from event_detection_pipeline.review.service import Service, service_of
from event_detection_pipeline.scan.pending import ANSWERS

logger = logging.getLogger(__name__)

# Chronicle's ids are UUIDs; older and imported ones are other short names. Never anything that needs quoting.
Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]

_ALL = 1_000_000  # more than any household has

router = APIRouter(tags=["Chronicle"])


class Swipe(BaseModel):
    """An answer as Chronicle's front end sends it."""

    transcript_version_id: Id
    conversation_id: Id
    reason: Annotated[str, StringConstraints(max_length=2000)] | None = None
    timestamp: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class FlaggedEvent(BaseModel):
    """A version that waits for an answer; times and lengths in seconds."""

    version_id: str
    conversation_id: str
    transcript: str
    timestamp: float
    audio_duration: float
    speaker_count: int
    word_count: int
    audio_data: None = None


class Accepted(BaseModel):
    status: Literal["success"] = "success"
    message: Literal["Verified transcript"] = "Verified transcript"
    version_id: str


class Rejected(BaseModel):
    status: Literal["success"] = "success"
    message: Literal["Stashed transcript for training"] = "Stashed transcript for training"
    stash_id: str
    version_id: str


class Problem(BaseModel):
    """What went wrong, for a person."""

    detail: str


NOT_FOUND: dict[int | str, dict[str, object]] = {404: {"model": Problem}}
AUDIO: dict[int | str, dict[str, object]] = {
    200: {"content": {"audio/wav": {}}, "description": "WAV, 16 kHz, mono, 16 bit"},
    206: {"content": {"audio/wav": {}}, "description": "The range asked for"},
    416: {"model": Problem, "description": "The range lies beyond the file"},
    422: {"model": Problem, "description": "The audio cannot be decoded, or the request is wrong"},
    **NOT_FOUND,
}


@router.get("/events")
def events(
    request: Request,
    all_versions: bool = False,
    limit: Annotated[int, Query(ge=1, le=_ALL)] = _ALL,
    offset: Annotated[int, Query(ge=0, le=_ALL)] = 0,
) -> list[FlaggedEvent]:
    """Everything that waits for an answer. `limit` and `offset` page through it; all of it by default."""
    service = service_of(request)
    flagged = iter_flagged(service.database, of=service.of, all_versions=all_versions)
    return [FlaggedEvent(**asdict(one)) for one in islice(flagged, offset, offset + limit)]


@router.post("/accept", responses=NOT_FOUND)
def accept(request: Request, swipe: Swipe) -> Accepted:
    """The event is there: the flag becomes "verified"."""
    _answer(service_of(request), swipe, "accepted")
    return Accepted(version_id=swipe.transcript_version_id)


@router.post("/reject", responses=NOT_FOUND)
def reject(request: Request, swipe: Swipe) -> Rejected:
    """The event is not there: the transcript goes to the training stash, the flag becomes "rejected"."""
    recorded = _answer(service_of(request), swipe, "rejected")
    return Rejected(stash_id=recorded.stash_id or "", version_id=swipe.transcript_version_id)


@router.get("/audio/{version_id}", response_class=StreamingResponse, responses=AUDIO)
def audio(request: Request, version_id: Id) -> Response:
    """The whole conversation of a transcript version; any byte range of it."""
    service = service_of(request)
    conversation_id = _conversation_of(service, version_id)
    if conversation_id is None:
        raise HTTPException(404, f"Transcript version {version_id} not found")
    file = open_audio(service, conversation_id)
    return wav_response(request, file, f"attachment; filename=audio_{re.sub(r'[^A-Za-z0-9._-]', '_', version_id)}.wav")


def _conversation_of(service: Service, version_id: str) -> str | None:
    """The conversation of a version. Versions have no index, flags have one: first among what waits, then what was
    answered, then everything."""
    of_version = {"transcript_versions.version_id": version_id, "deleted": {"$ne": True}, **service.of}
    flags = "transcript_versions.maybe_anomaly"
    for among in ({flags: True}, {flags: {"$in": list(ANSWERS)}}, {}):
        found = service.database[CONVERSATIONS].find_one(of_version | among, {"conversation_id": 1})
        if found and isinstance(found.get("conversation_id"), str):
            return found["conversation_id"]
    return None


def open_audio(service: Service, conversation_id: str, start: float = 0.0, end: float | None = None) -> WavFile:
    """Open a conversation's audio, or say in HTTP why not."""
    try:
        if not service.serves(conversation_id):
            raise NoAudio
        return service.audio.open(conversation_id, start, end)
    except NoAudio:
        raise HTTPException(404, "Audio of this transcript not found") from None
    except (UndecodableAudio, AudioTooLong) as error:
        raise HTTPException(422, str(error)) from None


def wav_response(request: Request, file: WavFile, disposition: str) -> Response:
    """The file, or the range of it that was asked for (RFC 9110, section 14)."""
    headers = {"Accept-Ranges": "bytes", "ETag": file.etag, "Cache-Control": "private, no-cache"}
    unchanged = request.headers.get("if-range") in (None, file.etag)
    try:
        part = parse_range(request.headers.get("range") if unchanged else None, file.size)
    except RangeNotSatisfiable:
        raise HTTPException(
            416, "The range lies beyond the file", headers={"Content-Range": f"bytes */{file.size}"}
        ) from None
    start, end = part or (0, file.size)
    headers |= {"Content-Disposition": disposition, "Content-Length": str(end - start)}
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    return StreamingResponse(
        file.read(start, end), status_code=206 if part else 200, headers=headers, media_type="audio/wav"
    )


def _answer(service: Service, swipe: Swipe, said: Said) -> Recorded:
    answer = Answer(
        conversation_id=swipe.conversation_id,
        version_id=swipe.transcript_version_id,
        answer=said,
        reviewer="chronicle",
        reason=swipe.reason,
        timestamp=swipe.timestamp,
    )
    return recorded_or_404(service, answer)


def recorded_or_404(service: Service, answer: Answer) -> Recorded:
    """Record an answer, or say in Chronicle's words what was not found."""
    try:
        if not service.serves(answer.conversation_id):
            raise ConversationNotFound
        recorded = record(
            service.database, answer, configured=service.events, copy_audio=service.settings.review.stash_copy_audio
        )
    except ConversationNotFound:
        raise HTTPException(404, "Conversation Not Found") from None
    except VersionNotFound:
        raise HTTPException(404, "Transcript version Not Found") from None
    service.queue.drop(Key(answer.conversation_id, answer.version_id, event) for event in recorded.revisions)
    return recorded
