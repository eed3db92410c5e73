"""The windows of a recording that is listened to: a few seconds of audio each, with the words spoken in it."""

from collections.abc import Iterable, Iterator
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
from event_detection_pipeline.clips.timeline import Timeline, Token, from_segments, from_words
from event_detection_pipeline.clips.windows import cut as windows_of
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings
from event_detection_pipeline.scan.pending import PendingVersion

# A conversation this young may have its audio still to come: it is looked at again, not put on record as silent.
UPLOAD_TIME = timedelta(days=1)
# Nothing is tagged in what nobody has answered; this stands in no text.
_NO_TAG = "\0"


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


def cut(samples: Samples, spoken: Timeline | tuple[Word, ...] | None, settings: ClipSettings) -> list[Window]:
    """Cut a recording of any length to windows as training clips are cut: between words, of about the same length.

    Args:
        samples: float32 mono 16 kHz.
        spoken: its text in time, or words without times, which make it one window; None where there is no transcript.
    """
    return list(_fill([AudioPiece(0.0, samples)], _plan(len(samples) / SAMPLE_RATE, spoken, settings)))


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

    yield from _fill(pieces(), _plan(seconds, _spoken(version, seconds, settings), settings))
    if all(problems):
        first = problems[0] if problems else "it is empty"
        raise NoAudio(f"conversation {pending.conversation_id}: no chunk can be decoded ({first})")


@dataclass(frozen=True, slots=True)
class _Planned:
    """A window before its audio is there; start and end in samples."""

    start: int
    end: int
    words: tuple[Word, ...] | None


def _plan(seconds: float, spoken: Timeline | tuple[Word, ...] | None, settings: ClipSettings) -> Iterator[_Planned]:
    if isinstance(spoken, tuple):
        yield _Planned(0, round(seconds * SAMPLE_RATE), spoken)
        return
    solid = spoken.solid if spoken else ()
    for window in windows_of(seconds, solid, target=settings.target_seconds, longest=settings.max_seconds):
        # A word without end that spans minutes leaves no place to cut; Whisper takes 30 s all the same.
        for start in np.arange(window.start, window.end, settings.max_seconds):
            end = min(start + settings.max_seconds, window.end)
            inside = _words(one for one in spoken.tokens if start <= one.start < end) if spoken else None
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


def _spoken(version: TranscriptVersion, seconds: float, clips: ClipSettings) -> Timeline | tuple[Word, ...] | None:
    """The text to feed the decoder, with its times as training finds them; the recogniser's own words where the text is
    another; the text without times for a recording that is a single window. None where nothing says when it is heard.
    """
    text = version.transcript or " ".join(one.text for one in version.segments if one.kind == "speech")
    recognised = " ".join(word.text for word in version.words)
    timeline = (
        from_words(text, version.words, _NO_TAG, seconds)
        or from_segments(text, version.segments, _NO_TAG, seconds)
        or from_words(recognised, version.words, _NO_TAG, seconds)
    )
    if timeline is None and text and seconds <= clips.max_seconds:
        return tuple(Word(word, None, None) for word in text.split())
    return timeline


def _words(tokens: Iterable[Token]) -> tuple[Word, ...]:
    """Tokens as words: what has no white space behind it goes on in the next, as in scripts without spaces."""
    words: list[Word] = []
    goes_on = False
    for token in tokens:
        text = token.text.rstrip()
        if goes_on:
            words[-1] = replace(words[-1], text=words[-1].text + text, end=token.end)
        else:
            words.append(Word(text, token.start, token.end))
        goes_on = text == token.text
    return tuple(words)
