"""A conversation decoded from beginning to end: what any window or layout of it is compared with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import AudioPiece, Samples, decode_chunks
from event_detection_pipeline.chronicle.chunks import MAX_SECONDS, DatabaseChunks, chunk_headers
from event_detection_pipeline.config import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class WholeAudio:
    """float32 mono samples at 16 kHz, and the pieces (a chunk each) they were made of."""

    samples: Samples
    pieces: tuple[AudioPiece, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """The (start, end) seconds that are only filled in."""
        return tuple((piece.start, piece.end) for piece in self.pieces if piece.problem)


def whole_audio(
    database: Database[dict[str, Any]], conversation_id: str, *, max_seconds: float = MAX_SECONDS
) -> WholeAudio:
    chunks = DatabaseChunks(database, chunk_headers(database, [conversation_id])[conversation_id])
    pieces = tuple(decode_chunks(chunks.fetch(range(chunks.count)), max_seconds=max_seconds))
    return WholeAudio(np.concatenate([piece.samples for piece in pieces]), pieces)
