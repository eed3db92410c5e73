"""The windows of a recording that is listened to: a few seconds of audio each, with the words spoken in it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import AudioPiece, NoAudio, Samples, decode_chunks
from event_detection_pipeline.chronicle.chunks import DatabaseChunks, chunk_headers
from event_detection_pipeline.chronicle.database import AWAY, Patience
from event_detection_pipeline.chronicle.documents import TranscriptVersion, Word
from event_detection_pipeline.chronicle.layout import lay_out
from event_detection_pipeline.chronicle.queries import get_conversation
from event_detection_pipeline.clips.windows import cut as windows_of
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings
from event_detection_pipeline.scan.pending import PendingVersion

# A conversation this young may have its audio still to come: it is looked at again, not put on record as silent.
UPLOAD_TIME = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a recording of at most 30 s.

    Attributes:
        start: seconds into the recording.
        samples: float32 mono 16 kHz.
        words: the words spoken in it, with times from the start of the recording where known; None where nobody has
            transcribed it.
    """

    start: float
    samples: Samples
    words: tuple[Word, ...] | None

    @property
    def end(self) -> float:
        return self.start + len(self.samples) / SAMPLE_RATE


class NotYet(Exception):
    """There is nothing to hear and nothing to put on record: it was deleted meanwhile, or is still being recorded."""


def cut(samples: Samples, words: Sequence[Word] | None, settings: ClipSettings) -> list[Window]:
    """Cut a recording of any length to windows as training clips are cut: between words, of about the same length.

    Args:
        samples: float32 mono 16 kHz.
        words: all words with their times; None where there is no transcript. Words without times only fit a recording
            that is one window.
    """
    return list(_fill([AudioPiece(0.0, samples)], _plan(len(samples) / SAMPLE_RATE, words, settings)))


def cut_stream(pieces: Iterable[Samples], settings: ClipSettings) -> Iterator[Window]:
    """`cut` of a recording without a transcript that comes in pieces; a piece and a few windows are in memory.

    Args:
        pieces: float32 mono 16 kHz, one after the other.
    """
    held, begin = np.zeros(0, np.float32), 0  # samples from sample `begin` on
    for piece in pieces:
        held, given = np.concatenate([held, piece]), 0
        for window in cut(held, None, settings):
            if window.end + settings.max_seconds > len(held) / SAMPLE_RATE:
                break  # where it ends may depend on what comes
            yield replace(window, start=window.start + begin / SAMPLE_RATE)
            given += len(window.samples)
        held, begin = held[given:], begin + given
    for window in cut(held, None, settings):
        yield replace(window, start=window.start + begin / SAMPLE_RATE)


def version_windows(
    database: Database[dict[str, Any]], pending: PendingVersion, settings: ClipSettings
) -> Iterator[Window]:
    """The windows of a conversation with the words of one version of its transcript, a few in memory at a time.

    Goes on where it was when the database went away and came back.

    Raises:
        NotYet: nothing to put on record.
        NoAudio: there is no chunk, or none could be decoded; what was given until then is silence.
        AudioTooLong, MalformedDocument, ChronicleUnavailable.
    """
    given, patience = 0, Patience(database)
    while True:
        try:
            for window in islice(_version_windows(database, pending, settings), given, None):
                given += 1
                patience.tries = 0
                yield window
            return
        except AWAY as error:
            patience.wait(error)


def _version_windows(
    database: Database[dict[str, Any]], pending: PendingVersion, settings: ClipSettings
) -> Iterator[Window]:
    conversation = get_conversation(database, pending.conversation_id, version_id=pending.version_id)
    version = conversation.version(pending.version_id) if conversation else None
    if conversation is None or version is None or conversation.deleted:
        raise NotYet("deleted meanwhile")
    headers = chunk_headers(database, [pending.conversation_id])[pending.conversation_id]
    chunks = DatabaseChunks(database, headers)
    if chunks.count == 0:
        if conversation.created_at and datetime.now(UTC) - conversation.created_at < UPLOAD_TIME:
            raise NotYet("no audio yet")
        raise NoAudio(f"conversation {pending.conversation_id} has no audio chunks")
    # Two passes over the encoded chunks (3 kB a second) spare holding hours of samples (64 kB a second).
    seconds = lay_out(chunks).seconds
    problems: list[str | None] = []

    def pieces() -> Iterator[AudioPiece]:
        for piece in decode_chunks(chunks.fetch(range(chunks.count))):
            problems.append(piece.problem)
            yield piece

    yield from _fill(pieces(), _plan(seconds, _words_of(version, seconds, settings), settings))
    if all(problems):
        first = problems[0] if problems else "it is empty"
        raise NoAudio(f"conversation {pending.conversation_id}: no chunk can be decoded ({first})")


@dataclass(frozen=True, slots=True)
class _Planned:
    """A window before its audio is there; start and end in samples."""

    start: int
    end: int
    words: tuple[Word, ...] | None


def _plan(seconds: float, words: Sequence[Word] | None, settings: ClipSettings) -> Iterator[_Planned]:
    if words is not None and any(word.start is None for word in words):
        yield _Planned(0, round(seconds * SAMPLE_RATE), tuple(words))
        return
    spoken = [(word.start, word.end) for word in words or () if word.start is not None and word.end is not None]
    for window in windows_of(seconds, spoken, target=settings.target_seconds, longest=settings.max_seconds):
        # A word without end that spans minutes leaves no place to cut; Whisper takes 30 s all the same.
        for start in np.arange(window.start, window.end, settings.max_seconds):
            end = min(start + settings.max_seconds, window.end)
            inside = (
                None if words is None else tuple(w for w in words if w.start is not None and start <= w.start < end)
            )
            yield _Planned(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE), inside)


def _fill(pieces: Iterable[AudioPiece], planned: Iterable[_Planned]) -> Iterator[Window]:
    """The planned windows with their samples, as soon as the pieces reach so far; all pieces are drawn."""
    source = iter(pieces)
    held, begin = np.zeros(0, np.float32), 0  # samples from sample `begin` on
    for window in planned:
        parts = [held] if len(held) else []
        reached = begin + len(held)
        while reached < window.end and (piece := next(source, None)) is not None:
            parts.append(piece.samples)
            reached += len(piece.samples)
        # A piece may be hours long: what is left of it is not copied for each window.
        held = (parts[0] if len(parts) == 1 else np.concatenate([held, *parts]))[window.start - begin :]
        begin = window.start
        samples = held[: window.end - begin].copy()
        if len(samples):
            yield Window(window.start / SAMPLE_RATE, samples, window.words)
    for _ in source:
        pass


def _words_of(version: TranscriptVersion, seconds: float, clips: ClipSettings) -> tuple[Word, ...] | None:
    """The words to feed the decoder: with times if there are any, without for a recording that is a single window."""
    if version.words and all(word.start is not None for word in version.words):
        return version.words
    if version.transcript and seconds <= clips.max_seconds:
        return tuple(Word(text, None, None) for text in version.transcript.split())
    return None
