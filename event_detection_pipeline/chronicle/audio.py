"""Chronicle's audio as samples: float32, mono, 16 kHz, at their right time in the conversation.

Chunks are decoded one by one, because concatenated Ogg files have broken time stamps. A chunk begins where the one
before it ended after decoding (Chronicle's `start_time` advances by 10 s even when a chunk is longer); one that is
missing or damaged leaves silence of its length, so that all that follows stays at its time.
"""

import base64
import binascii
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import av
import av.error
import numpy as np
import soxr
from numpy.typing import NDArray

from event_detection_pipeline.chronicle.chunks import (
    MAX_CHUNK_SECONDS,
    MAX_SECONDS,
    EncodedChunk,
)
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.errors import PipelineError

# How long before it is listened to a decoder is started. RFC 7845, section 4.6, asks for 80 ms; at 24 kbit/s
# the last differences were below 16 bits after 300 ms (measured on the demo's speech).
_SETTLING_SECONDS = 0.5
_EDGE_SECONDS = 0.05  # what the resampler hears of the samples behind the last one
_PIECE_SECONDS = 30  # decoded so far is brought to 16 kHz this often, which is a third of the memory or less
OPUS_RATE = 48_000  # Hz; Opus counts in it whatever the source's rate was (RFC 7845, section 4)

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


def decode(data: bytes | str, *, max_seconds: float = MAX_SECONDS) -> Samples:
    """Decode one audio file of any container to float32 mono at 16 kHz, sample-exact (Opus pre-skip and end trim).

    Args:
        data: the file's bytes, or the same as base64 text. The container is found by looking, not by a name.

    Raises:
        UndecodableAudio: there is no audio in it, or it is damaged.
        AudioTooLong: it is longer than `max_seconds`; decoding stopped there.
    """
    return _whole(file_bytes(data), 0.0, None, max_seconds).samples


def decode_file(file: BinaryIO) -> Iterator[Samples]:
    """What `decode` gives of an open file of any length, half a minute or so in memory at a time.

    Raises:
        UndecodableAudio: there is no audio in it, or it is damaged; what was given until then is its beginning.
    """
    for piece in _decode(file, 0.0, None, math.inf):
        yield piece.samples


def decode_part(data: bytes | str, start: float, end: float) -> Samples:
    """What `decode` gives of a chunk from `start` to `end` seconds; of an Ogg Opus file little more is decoded.

    Raises:
        UndecodableAudio, AudioTooLong: as `decode`.
    """
    file = file_bytes(data)
    first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
    if opus_seconds(file) is None:
        return decode(file, max_seconds=MAX_CHUNK_SECONDS)[first:last]
    part = _whole(file, max(start - _SETTLING_SECONDS, 0.0), end + _EDGE_SECONDS, MAX_CHUNK_SECONDS)
    skipped = first - round(part.start * SAMPLE_RATE)
    return part.samples[skipped : skipped + last - first]


def opus_seconds(data: bytes | str) -> float | None:
    """How long an Ogg Opus file is after decoding, read from its first and last page; None for anything else, and for
    more than MAX_CHUNK_SECONDS.

    The last page's granule position less the pre-skip (RFC 7845, section 4), thousands of times cheaper than decoding.
    """
    file = file_bytes(data)
    head = file.find(b"OpusHead", 0, 64)
    last_page = file.rfind(b"OggS")
    if not file.startswith(b"OggS") or head < 0 or len(file) < max(head + 12, last_page + 14):
        return None
    pre_skip = int.from_bytes(file[head + 10 : head + 12], "little")
    granule = int.from_bytes(file[last_page + 6 : last_page + 14], "little", signed=True)
    seconds = (granule - pre_skip) / OPUS_RATE
    return seconds if 0 < seconds <= MAX_CHUNK_SECONDS else None


def decode_chunks(chunks: Iterable[EncodedChunk], *, max_seconds: float = MAX_SECONDS) -> Iterator[AudioPiece]:
    """Decode chunk after chunk, with silence for those that cannot be. Raises AudioTooLong."""
    position = 0  # in samples, so that no rounding adds up
    for chunk in chunks:
        samples, problem = decode_chunk(chunk)
        if position + len(samples) > max_seconds * SAMPLE_RATE:
            raise AudioTooLong(f"the audio is longer than {max_seconds:g} s")
        yield AudioPiece(position / SAMPLE_RATE, samples, problem)
        position += len(samples)


def decode_chunk(chunk: EncodedChunk) -> tuple[Samples, str | None]:
    """The chunk's samples; or silence of its length, and why."""
    if chunk.data is None:
        return _silence(chunk.seconds), f"chunk {chunk.index} is missing"
    try:
        return decode(chunk.data, max_seconds=MAX_CHUNK_SECONDS), None
    except (UndecodableAudio, AudioTooLong) as error:
        return _silence(opus_seconds(chunk.data) or chunk.seconds), f"chunk {chunk.index}: {error}"


def file_bytes(data: bytes | str) -> bytes:
    """What `data` holds: a file, or base64 text of one."""
    raw = data.encode("latin-1", "replace") if isinstance(data, str) else data
    if raw.startswith((b"OggS", b"RIFF")):
        return raw
    text = raw.partition(b"base64,")[2] if raw.startswith(b"data:") else raw
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return raw


def _silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def _whole(file: bytes, start: float, end: float | None, max_seconds: float) -> AudioPiece:
    """The packets of these seconds, decoded; the piece begins where the first of them does."""
    if not file:
        raise UndecodableAudio("the audio is empty")
    pieces = list(_decode(io.BytesIO(file), start, end, max_seconds))
    return AudioPiece(pieces[0].start, np.concatenate([piece.samples for piece in pieces]))


def _decode(file: BinaryIO, start: float, end: float | None, max_seconds: float) -> Iterator[AudioPiece]:
    """Decode the packets of these seconds piece by piece; there is at least one."""
    try:
        for piece in _decode_container(file, start, end, max_seconds):
            if not np.isfinite(piece.samples).all():
                raise UndecodableAudio("the audio holds samples that are not numbers")
            yield piece
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise UndecodableAudio(f"not decodable as audio ({_size(file)} bytes: {type(error).__name__})") from error


def _size(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def _decode_container(file: BinaryIO, start: float, end: float | None, max_seconds: float) -> Iterator[AudioPiece]:
    """Pieces of the first audio stream, channels averaged, each with the second that it begins with."""
    collected, begin, length = _Collected(), None, 0
    with av.open(file, "r", metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise UndecodableAudio("the file has no audio in it")
        stream = container.streams.audio[0]
        # In the packets' own unit: fractions of a second, 50 times a second, would take a tenth of the time.
        tick = float(stream.time_base or 1)
        first = start / tick if start else -math.inf
        last = math.inf if end is None else end / tick
        to_packed = av.AudioResampler(format="flt")
        for packet in container.demux(stream):
            until = None if packet.pts is None else packet.pts + (packet.duration or 0)
            if until is not None and until <= first:
                continue
            for frame in packet.decode():
                length += frame.samples
                if length > max_seconds * frame.sample_rate:
                    raise AudioTooLong(f"the audio is longer than {max_seconds:g} s")
                begin = (frame.time or 0.0) if begin is None else begin
                collected.add(_mono(frame, to_packed), frame.sample_rate)
                if collected.is_full:
                    yield collected.piece(begin, last=False)
            if until is not None and until >= last:
                break
    if begin is None:
        raise UndecodableAudio("the file has no audio in it")
    yield collected.piece(begin, last=True)


def _mono(frame: av.AudioFrame, to_packed: av.AudioResampler) -> Samples:
    """The mean of a frame's channels; FFmpeg's own mix to mono is louder than either of two."""
    # Opus is planar float already; converting each 20 ms frame would cost as much as decoding it. More planes than
    # two go another way: PyAV 18 reads beyond the end of eight, and the process dies.
    if frame.format.name == "fltp" and frame.layout.nb_channels <= 2:
        channels = frame.to_ndarray()
    else:
        packed = [part.to_ndarray().reshape(-1, frame.layout.nb_channels) for part in to_packed.resample(frame)]
        channels = np.concatenate(packed).T
    return channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32)


class _Collected:
    """Decoded samples until there are enough of them to be brought to 16 kHz."""

    def __init__(self) -> None:
        self._rate = 0
        self._waiting: list[Samples] = []
        self._length = 0
        self._given = 0
        self._resampler: soxr.ResampleStream | None = None

    @property
    def is_full(self) -> bool:
        return self._length >= _PIECE_SECONDS * self._rate

    def add(self, samples: Samples, rate: int) -> None:
        if self._rate not in (0, rate):
            raise UndecodableAudio(f"the sample rate changes from {self._rate} to {rate} Hz in mid-file")
        self._rate = rate
        self._waiting.append(samples)
        self._length += len(samples)

    def piece(self, begin: float, *, last: bool) -> AudioPiece:
        """What was added since the piece before; `begin` is the second that the first one begins with."""
        samples = np.concatenate(self._waiting) if self._waiting else np.zeros(0, np.float32)
        self._waiting, self._length = [], 0
        if self._rate != SAMPLE_RATE:
            self._resampler = self._resampler or soxr.ResampleStream(self._rate, SAMPLE_RATE, 1, dtype="float32")
            samples = self._resampler.resample_chunk(samples, last=last)
        start = begin + self._given / SAMPLE_RATE
        self._given += len(samples)
        return AudioPiece(start, samples)
