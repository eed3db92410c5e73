"""Puts the demo household into a database, as Chronicle would have stored it and people would have reviewed it."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import soxr
from bson import Binary
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS, CONVERSATIONS, TRAINING_STASH
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.demo.conversations import Composition, DemoConversation, compose
from event_detection_pipeline.demo.opus import encode_ogg_opus
from event_detection_pipeline.demo.sounds import EVENT_SOUND
from event_detection_pipeline.demo.utterances import SpokenWord
from event_detection_pipeline.files import write_atomically

CHUNK_SECONDS = 10.0  # Chronicle's
SOURCE_RATES = (16_000, 48_000)  # Hz; microphones differ, and Chronicle stores what they send
STASH_COPIES = 3  # entries that carry copies of their audio, as the reject action adds them
EVENT_TAG = f"<{EVENT_SOUND}>"
USER_ID = "65f000000000000000000001"
CLIENT_ID = "living-room"


@dataclass(frozen=True)
class GroundTruth:
    """What really is in each conversation: {conversation_id: {"role", "event": bool, "sounds": [...]}}."""

    conversations: Mapping[str, dict[str, Any]]

    def save(self, path: Path) -> None:
        write_atomically(path, json.dumps(dict(self.conversations), indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> "GroundTruth":
        return cls(json.loads(path.read_text(encoding="utf-8")))


def fill(database: Database[dict[str, Any]], seed: int = 0, composition: Composition | None = None) -> GroundTruth:
    """Write `conversations`, `audio_chunks` and `training_stash`, what is there already excepted."""
    database[CONVERSATIONS].create_index("conversation_id", unique=True)  # Chronicle's own index
    there = set(database[CONVERSATIONS].distinct("conversation_id"))
    documents = _Documents()
    truth: dict[str, dict[str, Any]] = {}
    for conversation in compose(seed, composition):
        truth[conversation.conversation_id] = {
            "role": conversation.role,
            "event": conversation.has_event,
            "sounds": [asdict(sound) for sound in conversation.sounds],
        }
        if conversation.conversation_id not in there:
            documents.add(conversation)
    documents.write(database)
    return GroundTruth(truth)


@dataclass(frozen=True)
class _Documents:
    """What is to be written, by collection."""

    conversations: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[dict[str, Any]] = field(default_factory=list)
    stash: list[dict[str, Any]] = field(default_factory=list)

    def add(self, conversation: DemoConversation) -> None:
        chunks = [] if conversation.flaw == "no audio" else list(_chunks(conversation))
        self.chunks.extend(chunks)
        self.conversations.append(_conversation(conversation, len(chunks)))
        if conversation.role == "stash":
            copied = len(self.stash) < STASH_COPIES
            entry = _stash_entry(conversation, [_stash_chunk(chunk, copied) for chunk in chunks])
            self.stash.extend([entry, dict(entry)] if conversation.flaw == "stashed twice" else [entry])

    def write(self, database: Database[dict[str, Any]]) -> None:
        """Conversations come last: one that is there has all its parts, also after an interrupted filling."""
        if not self.conversations:
            return
        ids = [conversation["conversation_id"] for conversation in self.conversations]
        for name, documents in ((AUDIO_CHUNKS, self.chunks), (TRAINING_STASH, self.stash)):
            database[name].delete_many({"conversation_id": {"$in": ids}})
            if documents:
                database[name].insert_many(documents)
        database[CONVERSATIONS].insert_many(self.conversations)


def _conversation(conversation: DemoConversation, chunks: int) -> dict[str, Any]:
    return {
        "conversation_id": conversation.conversation_id,
        "user_id": USER_ID,
        "client_id": CLIENT_ID,
        "audio_chunks_count": chunks,
        "audio_total_duration": round(conversation.seconds, 3) if chunks else 0.0,
        "created_at": conversation.created_at,
        "deleted": False,
        "title": " ".join(word.text for word in conversation.words[:4]),
        "summary": None,
        "active_transcript_version": conversation.version_id,
        "transcript_versions": [_version(conversation)],
    }


def _version(conversation: DemoConversation) -> dict[str, Any]:
    heard = conversation.flaw != "no transcript"
    reviewed = conversation.role == "stash"
    return {
        "version_id": conversation.version_id,
        "transcript": conversation.transcript if heard else "",
        "words": _words(conversation.words) if heard else [],
        "segments": _segments(conversation) if heard else [],
        "provider": "whisper",
        "model": "tiny.en",
        "created_at": conversation.created_at,
        "metadata": {"word_count": len(conversation.words) if heard else 0},
        "maybe_anomaly": "rejected" if reviewed else None,
        "verified_at": None,
        "rejected_at": _reviewed_at(conversation).isoformat() if reviewed else None,
        "rejected_reason": _reason(conversation) if reviewed else None,
    }


def _stash_entry(conversation: DemoConversation, chunks: list[dict[str, Any]]) -> dict[str, Any]:
    heard = conversation.flaw != "no transcript"
    return {
        "transcript_version_id": conversation.version_id,
        "conversation_id": conversation.conversation_id,
        "user_id": USER_ID,
        "client_id": CLIENT_ID,
        "transcript": _corrected(conversation) if heard else "",
        "segments": _segments(conversation) if heard else [],
        "reason": _reason(conversation),
        "timestamp": _reviewed_at(conversation).timestamp(),
        "audio_chunks": chunks,
        "metadata": {"word_count": len(conversation.words) if heard else 0},
        "created_at": _reviewed_at(conversation).isoformat(),
    }


def _corrected(conversation: DemoConversation) -> str:
    """The transcript as a person leaves it: the event's tag stands between the words where it was heard."""
    texts = [(word.start, word.text) for word in conversation.words]
    texts += [(sound.start, EVENT_TAG) for sound in conversation.sounds if sound.name == EVENT_SOUND]
    return " ".join(text for _, text in sorted(texts))


def _words(words: Iterable[SpokenWord]) -> list[dict[str, Any]]:
    return [{"word": word.text, "start": word.start, "end": word.end, "confidence": word.confidence} for word in words]


def _segments(conversation: DemoConversation) -> list[dict[str, Any]]:
    speakers = sorted({segment.speaker for segment in conversation.segments})
    return [
        {
            "start": segment.words[0].start,
            "end": segment.words[-1].end,
            "text": segment.text,
            "speaker": f"Speaker {speakers.index(segment.speaker)}",
            "confidence": round(sum(word.confidence for word in segment.words) / len(segment.words), 3),
            "words": _words(segment.words),
            "segment_type": "speech",
        }
        for segment in conversation.segments
    ]


def _chunks(conversation: DemoConversation) -> Iterator[dict[str, Any]]:
    rate = SOURCE_RATES[int(conversation.conversation_id[0], 16) % len(SOURCE_RATES)]
    samples = conversation.audio if rate == SAMPLE_RATE else soxr.resample(conversation.audio, SAMPLE_RATE, rate)
    step = round(CHUNK_SECONDS * rate)
    for index, start in enumerate(range(0, len(samples), step)):
        part = samples[start : start + step]
        data = encode_ogg_opus(part, rate)
        if conversation.flaw == "corrupt audio":
            data = data[:3] + bytes(len(data) - 3)
        seconds = len(part) / rate
        yield {
            "conversation_id": conversation.conversation_id,
            "chunk_index": index,
            "audio_data": Binary(data),
            "start_time": index * CHUNK_SECONDS,
            "end_time": index * CHUNK_SECONDS + seconds,
            "duration": seconds,
            "sample_rate": rate,
            "channels": 1,
            "original_size": 2 * len(part),
            "compressed_size": len(data),
            "deleted": False,
            "created_at": conversation.created_at,
        }


def _stash_chunk(chunk: dict[str, Any], copied: bool) -> dict[str, Any]:
    """A chunk as a stash entry has it: with a copy of the audio as text, or only a reference to it."""
    reference = {name: chunk[name] for name in ("chunk_index", "duration", "sample_rate", "channels")}
    return reference | {"audio_data": base64.b64encode(chunk["audio_data"]).decode()} if copied else reference


def _reviewed_at(conversation: DemoConversation) -> datetime:
    return conversation.created_at + timedelta(days=1)


def _reason(conversation: DemoConversation) -> str:
    return "the chime was missing" if conversation.has_event else "no chime here"
