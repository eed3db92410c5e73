"""Chronicle's audio chunks as samples: float32, mono, 16 kHz, at their right time in the conversation.

Chunks are decoded one by one, because concatenated Ogg files have broken time stamps. A chunk begins where the one
before it ended after decoding (Chronicle's `start_time` advances by 10 s even when a chunk is longer); one that is
missing or damaged leaves silence of its nominal length, so that all that follows stays at its time.
"""

import base64
import binascii
import io
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import av.error
import numpy as np
import soxr
from numpy.typing import NDArray
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS
from event_detection_pipeline.chronicle.documents import Document
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.errors import PipelineError

CHUNK_SECONDS = 10.0  # what Chronicle cuts audio to when a conversation says nothing else
# Chronicle takes uploads of up to 2 h; beyond 3 h an index or a header is wrong.
MAX_SECONDS = 3 * 3600.0
MAX_CHUNKS = 1080
_FETCH_CHUNKS = 32  # about 1 MB of Opus at a time

Samples = NDArray[np.float32]


class UndecodableAudio(PipelineError):
    """Bytes that hold no audio that can be decoded."""


class NoAudio(PipelineError):
    """A conversation without a single chunk that can be decoded."""


class AudioTooLong(PipelineError):
    """More audio than the caller can take."""


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """A stretch of a conversation from `start` seconds; `problem` says why the samples are silence, if they are."""

    start: float
    samples: Samples
    problem: str | None = None

    @property
    def end(self) -> float:
        return self.start + len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class ConversationAudio:
    """A whole conversation: float32 mono samples, the (start, end) seconds that are only filled in, and why."""

    samples: Samples
    gaps: tuple[tuple[float, float], ...] = ()
    problems: tuple[str, ...] = ()
    sample_rate: int = SAMPLE_RATE

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """A chunk as stored: `data` is None where it is missing; `seconds` is its nominal length."""

    index: int
    data: bytes | str | None
    seconds: float


def decode(data: bytes | str) -> Samples:
    """Decode one audio file of any container to float32 mono at 16 kHz, sample-exact (Opus pre-skip and end trim).

    Args:
        data: the file's bytes, or the same as base64 text. The container is found by looking, not by a name.

    Raises:
        UndecodableAudio: there is no audio in it, or it is damaged.
    """
    file = _file_bytes(data)
    if not file:
        raise UndecodableAudio("the audio is empty")
    try:
        samples, rate = _decode_container(io.BytesIO(file))
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise UndecodableAudio(f"not decodable as audio ({len(file)} bytes: {type(error).__name__})") from error
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    if not np.isfinite(samples).all():
        raise UndecodableAudio("the audio holds samples that are not numbers")
    return samples


def iter_audio(
    database: Database[dict[str, Any]], conversation_id: str, *, max_seconds: float = MAX_SECONDS
) -> Iterator[AudioPiece]:
    """The conversation's audio in order, one chunk (about 10 s) in memory at a time.

    Raises:
        NoAudio: there is no chunk at all (a piece that is only silence has a `problem`).
        AudioTooLong: `max_seconds` are exceeded.
    """
    yield from decode_chunks(iter_chunks(database, conversation_id), max_seconds=max_seconds)


def conversation_audio(
    database: Database[dict[str, Any]], conversation_id: str, *, max_seconds: float = MAX_SECONDS
) -> ConversationAudio:
    """The conversation's whole audio in memory (64 kB a second).

    Raises:
        NoAudio: there is no chunk, or none that can be decoded.
        AudioTooLong: `max_seconds` are exceeded; at most one chunk more was decoded.
    """
    return join_audio(iter_audio(database, conversation_id, max_seconds=max_seconds))


def join_audio(pieces: Iterator[AudioPiece]) -> ConversationAudio:
    """Put pieces together. Raises NoAudio if none was decoded."""
    parts = list(pieces)
    if all(part.problem for part in parts):
        raise NoAudio(f"none of the audio chunks can be decoded: {parts[0].problem if parts else 'there are none'}")
    return ConversationAudio(
        samples=np.concatenate([part.samples for part in parts]),
        gaps=tuple((part.start, part.end) for part in parts if part.problem),
        problems=tuple(part.problem for part in parts if part.problem),
    )


def decode_chunks(chunks: Iterator[EncodedChunk], *, max_seconds: float = MAX_SECONDS) -> Iterator[AudioPiece]:
    """Decode chunk after chunk, with silence for those that cannot be. Raises AudioTooLong."""
    position = 0  # in samples, so that no rounding adds up
    for chunk in chunks:
        samples, problem = _decode_chunk(chunk)
        if position + len(samples) > max_seconds * SAMPLE_RATE:
            raise AudioTooLong(f"the audio is longer than {max_seconds:g} s")
        yield AudioPiece(position / SAMPLE_RATE, samples, problem)
        position += len(samples)


def iter_chunks(database: Database[dict[str, Any]], conversation_id: str) -> Iterator[EncodedChunk]:
    """The conversation's chunks by index from 0, without the soft-deleted; of a twofold index the newest counts.

    Raises:
        NoAudio: there is no chunk.
    """
    collection = database[AUDIO_CHUNKS]
    query = {"conversation_id": conversation_id, "deleted": {"$ne": True}}
    headers = _newest_by_index(list(collection.find(query, {"chunk_index": 1, "duration": 1})))
    if not headers:
        raise NoAudio(f"conversation {conversation_id} has no audio chunks")
    nominal = _nominal_seconds([headers[index] for index in sorted(headers)])
    # Fetched by _id in batches: a server-side sort of so much audio would exceed MongoDB's memory limit.
    for start in range(0, max(headers) + 1, _FETCH_CHUNKS):
        indices = range(start, min(start + _FETCH_CHUNKS, max(headers) + 1))
        ids = [headers[index]["_id"] for index in indices if index in headers]
        found = {doc["_id"]: doc.get("audio_data") for doc in collection.find({"_id": {"$in": ids}}, {"audio_data": 1})}
        for index in indices:
            header = headers.get(index)
            data = found.get(header["_id"]) if header else None
            seconds = _seconds(header) if header else None
            yield EncodedChunk(index, data if isinstance(data, bytes | str) else None, seconds or nominal)


def stash_chunks(stash_document: Document) -> Iterator[EncodedChunk]:
    """The copies of the audio that a stash entry carries (base64, at most 100 chunks), by index from 0."""
    copies = stash_document.get("audio_chunks")
    documents = [copy for copy in copies if isinstance(copy, dict)] if isinstance(copies, list) else []
    by_index = _newest_by_index(documents)
    nominal = _nominal_seconds([by_index[index] for index in sorted(by_index)])
    for index in range(max(by_index, default=-1) + 1):
        copy = by_index.get(index, {})
        data = copy.get("audio_data")
        yield EncodedChunk(index, data if isinstance(data, bytes | str) else None, _seconds(copy) or nominal)


def _decode_chunk(chunk: EncodedChunk) -> tuple[Samples, str | None]:
    """The chunk's samples, or silence of its nominal length and why."""
    if chunk.data is None:
        problem = f"chunk {chunk.index} is missing"
    else:
        try:
            return decode(chunk.data), None
        except UndecodableAudio as error:
            problem = f"chunk {chunk.index}: {error}"
    return np.zeros(round(chunk.seconds * SAMPLE_RATE), np.float32), problem


def _newest_by_index(documents: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """A restarted job begins at 0 again: of one index the document written last counts."""
    newest: dict[int, dict[str, Any]] = {}
    # An ObjectId begins with the time; copies without an id are in the order they were written.
    for document in sorted(documents, key=lambda document: str(document.get("_id", ""))):
        index = document.get("chunk_index")
        if isinstance(index, int | float) and 0 <= index < MAX_CHUNKS and index == int(index):
            newest[int(index)] = document
    return newest


def _seconds(document: Document) -> float | None:
    seconds = document.get("duration")
    return float(seconds) if isinstance(seconds, int | float) and 0 < seconds <= MAX_SECONDS else None


def _nominal_seconds(documents: list[dict[str, Any]]) -> float:
    """The usual length of the chunks; the last one is often shorter and does not count."""
    known = [seconds for document in documents[:-1] if (seconds := _seconds(document))]
    return statistics.median(known) if known else CHUNK_SECONDS


def _file_bytes(data: bytes | str) -> bytes:
    """What `data` holds: a file, or base64 text of one."""
    raw = data.encode("latin-1", "replace") if isinstance(data, str) else bytes(data)
    text = raw.partition(b"base64,")[2] if raw.startswith(b"data:") else raw
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return raw


def _decode_container(file: io.BytesIO) -> tuple[Samples, int]:
    """Decode the first audio stream at its own rate; channels are averaged."""
    with av.open(file, "r", metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise UndecodableAudio("the file has no audio in it")
        to_float = av.AudioResampler(format="fltp")
        parts: list[NDArray[Any]] = []
        rate = SAMPLE_RATE
        for frame in container.decode(container.streams.audio[0]):
            rate = frame.sample_rate
            # Opus is float already; converting each 20 ms frame would cost as much as decoding it.
            for part in [frame] if frame.format.name == "fltp" else to_float.resample(frame):
                parts.append(part.to_ndarray())
    if not parts:
        raise UndecodableAudio("the file has no audio in it")
    channels = np.concatenate(parts, axis=1)
    # Averaged here, because FFmpeg's own mix to mono is louder than either channel.
    return (channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32)), rate
