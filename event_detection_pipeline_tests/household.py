"""Documents as Chronicle stores them, for tests to put into a database."""

import uuid
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from event_detection_pipeline_tests.sounds import encode, tone

DAY = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def add_conversation(
    database: Database[dict[str, Any]],
    *,
    conversation_id: str | None = None,
    seconds: float = 5.0,
    chunks: list[dict[str, Any]] | None = None,
    transcript: object = "hello there",
    words: object = None,
    segments: object = None,
    **fields: object,
) -> str:
    """Insert a conversation with one version, `<id>-v1`, and its audio: a tone, or the chunks given. Returns its id."""
    conversation_id = conversation_id or str(uuid.uuid4())
    version_id = f"{conversation_id}-v1"
    version: dict[str, Any] = {"version_id": version_id, "transcript": transcript, "words": words or []}
    database["conversations"].insert_one(
        {
            "conversation_id": conversation_id,
            "created_at": DAY,
            "active_transcript_version": version_id,
            "transcript_versions": [version | {"segments": segments or [], "maybe_anomaly": None}],
            **fields,
        }
    )
    if chunks is None:
        chunks = [{"chunk_index": 0, "audio_data": encode(tone(seconds)), "duration": seconds}]
    if chunks:
        database["audio_chunks"].insert_many([{"conversation_id": conversation_id, **chunk} for chunk in chunks])
    return conversation_id


def timed(*words: tuple[str, float]) -> list[dict[str, Any]]:
    """Words as a recogniser writes them: each from its second on, for 0.4 s."""
    return [{"word": word, "start": start, "end": start + 0.4} for word, start in words]


def add_stash_entry(database: Database[dict[str, Any]], conversation_id: str, **fields: object) -> str:
    """Insert what the reject action writes for `<conversation_id>-v1`. Returns the entry's id."""
    entry = {
        "conversation_id": conversation_id,
        "transcript_version_id": f"{conversation_id}-v1",
        "transcript": "hello there",
        "segments": [],
        "timestamp": DAY.timestamp(),
        "created_at": DAY.isoformat(),
        **fields,
    }
    return str(database["training_stash"].insert_one(entry).inserted_id)
