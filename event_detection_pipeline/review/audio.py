"""A conversation's audio as one WAV file never held in memory: any byte range is decoded when asked for."""

import hashlib
import re
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import NoAudio, Samples, UndecodableAudio, decode_chunk
from event_detection_pipeline.chronicle.chunks import DatabaseChunks, chunk_headers
from event_detection_pipeline.chronicle.layout import Layout, Span, lay_out
from event_detection_pipeline.config import SAMPLE_RATE

HEADER_BYTES = 44
_SAMPLE_BYTES = 2
_LAYOUTS_KEPT = 64


class RangeNotSatisfiable(Exception):
    """The bytes asked for lie beyond the file."""


@dataclass(frozen=True, slots=True)
class WavFile:
    """A stretch of a conversation as a WAV file: 16 kHz, mono, 16-bit PCM.

    Attributes:
        first: the sample of the conversation that it begins with.
        samples: how many it has.
        etag: changes when the audio does.
    """

    chunks: DatabaseChunks
    layout: Layout
    first: int
    samples: int
    etag: str

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return HEADER_BYTES + self.samples * _SAMPLE_BYTES

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end` (exclusive), one chunk (about 10 s) in memory at a time."""
        if start < HEADER_BYTES:
            yield _header(self.samples)[start:end]
        # Whole samples around the bytes, cut to the bytes where a range begins or ends inside a sample.
        begin = self.first + max(start - HEADER_BYTES, 0) // _SAMPLE_BYTES
        stop = self.first + -(-max(end - HEADER_BYTES, 0) // _SAMPLE_BYTES)
        for span in self.layout.spans:
            if span.start >= stop or span.end <= begin:
                continue
            low, high = max(span.start, begin), min(span.end, stop)
            data = _pcm(self._decode(span)[low - span.start : high - span.start])
            offset = HEADER_BYTES + (low - self.first) * _SAMPLE_BYTES
            yield data[max(start - offset, 0) : end - offset]

    def check(self) -> None:
        """See that there is something to hear. Raises UndecodableAudio if no chunk of it can be decoded."""
        spans = [s for s in self.layout.spans if s.start < self.first + self.samples and s.end > self.first]
        if not any(self._decodes(span) for span in spans):
            problem = next((span.problem for span in spans if span.problem), "no chunk can be decoded")
            raise UndecodableAudio(f"the audio cannot be decoded ({problem})")

    def _decodes(self, span: Span) -> bool:
        return span.problem is None and decode_chunk(next(self.chunks.fetch([span.index])))[1] is None

    def _decode(self, span: Span) -> Samples:
        samples, _ = decode_chunk(next(self.chunks.fetch([span.index])))
        # What came before must not move by a sample, whatever the decoder makes of a damaged chunk.
        return np.pad(samples[: span.length], (0, max(span.length - len(samples), 0)))


class WavFiles:
    """Opens conversations as WAV files, and remembers how the last ones are laid out: a player asks for many ranges."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database
        self._layouts: OrderedDict[str, Layout] = OrderedDict()
        self._lock = Lock()

    def open(self, conversation_id: str, start: float = 0.0, end: float | None = None) -> WavFile:
        """The audio from `start` to `end` seconds.

        Raises:
            NoAudio: there is no chunk, or none at that time.
            UndecodableAudio: no chunk of it can be decoded.
            AudioTooLong: the conversation is longer than 3 h.
        """
        headers = chunk_headers(self._database, [conversation_id])[conversation_id]
        chunks = DatabaseChunks(self._database, headers)
        if chunks.count == 0:
            raise NoAudio(f"conversation {conversation_id} has no audio chunks")
        digest = hashlib.sha256(" ".join(sorted(str(header["_id"]) for header in headers)).encode()).hexdigest()[:24]
        layout = self._layout(digest, chunks)
        total = layout.spans[-1].end
        first = min(round(start * SAMPLE_RATE), total)
        last = total if end is None else min(round(end * SAMPLE_RATE), total)
        if last <= first:
            raise NoAudio(f"conversation {conversation_id} has {layout.seconds:.1f} s of audio, none from {start:g} s")
        file = WavFile(chunks, layout, first, last - first, f'"{digest}-{first}-{last}"')
        file.check()
        return file

    def _layout(self, digest: str, chunks: DatabaseChunks) -> Layout:
        with self._lock:
            if digest in self._layouts:
                self._layouts.move_to_end(digest)
                return self._layouts[digest]
        layout = lay_out(chunks)
        with self._lock:
            self._layouts[digest] = layout
            if len(self._layouts) > _LAYOUTS_KEPT:
                self._layouts.popitem(last=False)
        return layout


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes (start, end exclusive) of a Range header; None where the whole file is to be sent (RFC 9110, 14.2).

    Several ranges, and units other than bytes, may be ignored; a player never asks for them.

    Raises:
        RangeNotSatisfiable: it begins behind the end.
    """
    match = re.fullmatch(r"bytes=\s*(\d{0,15})-(\d{0,15})\s*", header or "")
    if not match or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable
    return start, end


def _header(samples: int) -> bytes:
    """RIFF header of PCM data (Microsoft, "Multimedia Programming Interface and Data Specifications 1.0", 1991)."""
    data = samples * _SAMPLE_BYTES
    rate = SAMPLE_RATE * _SAMPLE_BYTES
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", data + HEADER_BYTES - 8, b"WAVE"),
        *(b"fmt ", 16, 1, 1, SAMPLE_RATE, rate, _SAMPLE_BYTES, 8 * _SAMPLE_BYTES),
        *(b"data", data),
    )


def _pcm(samples: Samples) -> bytes:
    return np.round(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
