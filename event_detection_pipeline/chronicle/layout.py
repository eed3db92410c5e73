"""Where each chunk of a conversation lies in time, found without decoding, and the audio between any two moments.

Opus tells its exact length in its header: of a two-hour conversation only the chunks of a few windows are decoded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from event_detection_pipeline.chronicle.audio import (
    AudioTooLong,
    Samples,
    UndecodableAudio,
    decode_chunk,
    decode_part,
    opus_seconds,
)
from event_detection_pipeline.chronicle.chunks import MAX_SECONDS, ChunkSource, EncodedChunk
from event_detection_pipeline.config import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk's place in the conversation, in samples."""

    index: int
    start: int
    length: int
    problem: str | None

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Layout:
    """All chunks of a conversation, one after the other."""

    spans: tuple[Span, ...]

    @property
    def seconds(self) -> float:
        return self.spans[-1].end / SAMPLE_RATE if self.spans else 0.0

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """The (start, end) seconds of chunks that are known to be missing or damaged."""
        return tuple((span.start / SAMPLE_RATE, span.end / SAMPLE_RATE) for span in self.spans if span.problem)

    @property
    def is_silent(self) -> bool:
        return all(span.problem for span in self.spans)

    def between(self, start: float, end: float) -> tuple[Span, ...]:
        """The spans that reach into these seconds."""
        first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        return tuple(span for span in self.spans if span.start < last and span.end > first)


def lay_out(source: ChunkSource) -> Layout:
    """Lay a conversation out, one batch of encoded chunks in memory at a time. Raises AudioTooLong beyond 3 h."""
    spans: list[Span] = []
    position = 0
    for chunk in source.fetch(range(source.count)):
        length, problem = _measure(chunk)
        spans.append(Span(chunk.index, position, length, problem))
        position += length
        if position > MAX_SECONDS * SAMPLE_RATE:
            raise AudioTooLong(f"the audio is longer than {MAX_SECONDS:g} s")
    return Layout(tuple(spans))


def decode_between(
    spans: Iterable[Span], chunks: Mapping[int, EncodedChunk], start: float, end: float
) -> tuple[Samples, tuple[tuple[float, float], ...]]:
    """The samples from `start` to `end` seconds, and the (start, end) seconds therein that no chunk fills: silence."""
    first = round(start * SAMPLE_RATE)
    samples = np.zeros(round(end * SAMPLE_RATE) - first, np.float32)
    filled = np.zeros(len(samples), np.bool_)
    for span in spans:
        data = chunks[span.index].data
        low, high = max(first, span.start), min(first + len(samples), span.end)
        if data is None or low >= high:
            continue
        try:
            here = decode_part(data, (low - span.start) / SAMPLE_RATE, (high - span.start) / SAMPLE_RATE)
        except (UndecodableAudio, AudioTooLong):
            continue
        at = low - first
        samples[at : at + len(here)] = here
        filled[at : at + len(here)] = True
    edges = np.flatnonzero(np.diff(filled, prepend=True, append=True)) + first
    # Two chunks' lengths are rounded to whole samples: a gap of one or two of them is none.
    gaps = edges.reshape(-1, 2)[np.diff(edges.reshape(-1, 2))[:, 0] > 2] / SAMPLE_RATE
    return samples, tuple((float(gap[0]), float(gap[1])) for gap in gaps)


def _measure(chunk: EncodedChunk) -> tuple[int, str | None]:
    """A chunk's length in samples after decoding, and what is wrong with it."""
    seconds = opus_seconds(chunk.data) if chunk.data is not None else None
    if seconds is not None:
        return round(seconds * SAMPLE_RATE), None
    samples, problem = decode_chunk(chunk)
    return len(samples), problem
