"""Where the encoded audio of a conversation comes from: its chunks, a stash entry's copies, or a WAV file."""

import io
import statistics
import wave
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pymongo.database import Database

from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS
from event_detection_pipeline.chronicle.documents import Document

CHUNK_SECONDS = 10.0  # what Chronicle cuts audio to when a conversation says nothing else
# Chronicle takes uploads of up to 2 h; beyond 3 h an index or a length is wrong.
MAX_CHUNKS = 1080
MAX_SECONDS = MAX_CHUNKS * CHUNK_SECONDS
# Half an hour of silence is 100 kB of Opus and 115 MB of samples: no chunk may be longer, nor say so.
MAX_CHUNK_SECONDS = 1800.0

_FETCH_CHUNKS = 32  # about 1 MB of Opus at a time


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """A chunk as stored: `data` is None where it is missing; `seconds` is its nominal length."""

    index: int
    data: bytes | str | None
    seconds: float


class ChunkSource(Protocol):
    """A conversation's chunks, numbered from 0; a missing number is a chunk without data."""

    @property
    def count(self) -> int: ...

    def fetch(self, indices: Sequence[int]) -> Iterator[EncodedChunk]:
        """The chunks of these indices in this order, few at a time in memory."""
        ...


class DatabaseChunks:
    """The chunks in `audio_chunks`, without the soft-deleted; of a twofold index the newest counts."""

    def __init__(self, database: Database[dict[str, Any]], headers: Iterable[Document]) -> None:
        self._collection = database[AUDIO_CHUNKS]
        self._headers = newest_by_index(headers)
        self._nominal = nominal_seconds(self._headers)
        self._held: dict[Any, Any] = {}  # the last batch's audio by _id: most conversations are one batch

    @property
    def count(self) -> int:
        return max(self._headers, default=-1) + 1

    def fetch(self, indices: Sequence[int]) -> Iterator[EncodedChunk]:
        # By _id in batches: a server-side sort of so much audio would exceed MongoDB's memory limit.
        for start in range(0, len(indices), _FETCH_CHUNKS):
            batch = indices[start : start + _FETCH_CHUNKS]
            ids = [self._headers[index]["_id"] for index in batch if index in self._headers]
            held = self._held
            if not all(id_ in held for id_ in ids):
                found = self._collection.find({"_id": {"$in": ids}}, {"audio_data": 1})
                self._held = held = {document["_id"]: document.get("audio_data") for document in found}
            for index in batch:
                header = self._headers.get(index, {})
                yield _encoded(index, held.get(header.get("_id")), header, self._nominal)


class StoredChunks:
    """The copies that a stash entry carries (base64 text, at most 100 chunks)."""

    def __init__(self, documents: object) -> None:
        copies = documents if isinstance(documents, list) else []
        self._documents = newest_by_index(copy for copy in copies if isinstance(copy, dict))
        self._nominal = nominal_seconds(self._documents)

    @property
    def count(self) -> int:
        return max(self._documents, default=-1) + 1

    def fetch(self, indices: Sequence[int]) -> Iterator[EncodedChunk]:
        for index in indices:
            document = self._documents.get(index, {})
            yield _encoded(index, document.get("audio_data"), document, self._nominal)


class WavChunks:
    """A PCM WAV file read 10 s at a time, so that an hour of it never lies in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with wave.open(str(path), "rb") as file:
                self._params, frames = file.getparams(), file.getnframes()
        except (OSError, EOFError, wave.Error):
            frames = 0
        self._frames = frames

    @property
    def count(self) -> int:
        return -(-self._frames // self._chunk_frames) if self._frames else 0

    @property
    def _chunk_frames(self) -> int:
        return round(CHUNK_SECONDS * self._params.framerate)

    def fetch(self, indices: Sequence[int]) -> Iterator[EncodedChunk]:
        with wave.open(str(self._path), "rb") as file:
            for index in indices:
                file.setpos(index * self._chunk_frames)
                data = file.readframes(self._chunk_frames)
                buffer = io.BytesIO()
                with wave.open(buffer, "wb") as chunk:
                    chunk.setparams(self._params)
                    chunk.writeframes(data)
                yield EncodedChunk(index, buffer.getvalue(), CHUNK_SECONDS)


def chunk_headers(database: Database[dict[str, Any]], conversation_ids: Sequence[str]) -> dict[str, list[Document]]:
    """What is known of the chunks of many conversations without their audio, in one query."""
    query = {"conversation_id": {"$in": list(conversation_ids)}, "deleted": {"$ne": True}}
    fields = {"conversation_id": 1, "chunk_index": 1, "duration": 1}
    headers: dict[str, list[Document]] = {conversation_id: [] for conversation_id in conversation_ids}
    for header in database[AUDIO_CHUNKS].find(query, fields):
        # A list matches a query for what is in it, and belongs to nobody.
        if isinstance(header["conversation_id"], str):
            headers[header["conversation_id"]].append(header)
    return headers


def newest_by_index(documents: Iterable[Document]) -> dict[int, Document]:
    """A restarted job begins at 0 again: of one index the document written last counts."""
    newest: dict[int, Document] = {}
    # An ObjectId begins with the time; copies without an id are in the order they were written.
    for document in sorted(documents, key=lambda document: str(document.get("_id", ""))):
        index = document.get("chunk_index")
        if isinstance(index, int | float) and 0 <= index < MAX_CHUNKS and index == int(index):
            newest[int(index)] = document
    return newest


def nominal_seconds(by_index: dict[int, Document]) -> float:
    """The usual length of the chunks; the last one is often shorter and does not count."""
    known = [seconds for index in sorted(by_index)[:-1] if (seconds := _seconds(by_index[index]))]
    return statistics.median(known) if known else CHUNK_SECONDS


def _seconds(document: Document) -> float | None:
    seconds = document.get("duration")
    return float(seconds) if isinstance(seconds, int | float) and 0 < seconds <= MAX_CHUNK_SECONDS else None


def _encoded(index: int, data: object, document: Document, nominal: float) -> EncodedChunk:
    return EncodedChunk(index, data if isinstance(data, bytes | str) else None, _seconds(document) or nominal)
