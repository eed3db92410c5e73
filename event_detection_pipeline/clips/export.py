"""From the training stash to clips on disk, and from clips to the manifest that training reads."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import (
    AudioTooLong,
    ConversationAudio,
    NoAudio,
    conversation_audio,
)
from event_detection_pipeline.chronicle.documents import (
    Document,
    MalformedDocument,
    StashEntry,
    TranscriptVersion,
    parse_stash_entry,
)
from event_detection_pipeline.chronicle.queries import count_stash, get_conversation, has_audio, iter_stash
from event_detection_pipeline.clips.manifest import Clip, ClipWord, read_manifest, write_manifest
from event_detection_pipeline.clips.rejects import Reject, RejectReason, count_by_reason, write_rejects
from event_detection_pipeline.clips.splits import split_of
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.files import write_atomically

Progress = Callable[[int, int], None]  # done, of how many

STASH = "training_stash"


class EmptyStash(PipelineError):
    """Nobody has stashed anything yet."""

    def __init__(self) -> None:
        super().__init__(
            "the training stash is empty: swipe left on a wrong flag in the user loop to stash samples, "
            "then export again"
        )


class TooFewSamples(PipelineError):
    """Fewer clips than training needs."""

    def __init__(self, found: int, needed: int) -> None:
        self.found, self.needed = found, needed
        super().__init__(
            f"{found} clips, {needed} are needed: review more flags in the user loop, or lower min_samples "
            "(--min-samples)"
        )


class NoAudioFound(PipelineError):
    """Not one stash entry has audio that can be used."""

    def __init__(self, entries: int, with_chunks: int) -> None:
        self.entries, self.with_chunks = entries, with_chunks
        super().__init__(
            f"no usable audio for any of the {entries} stash entries; {with_chunks} of them have audio chunks in "
            "MongoDB. Check that MONGODB_DATABASE is Chronicle's and that it keeps audio (audio_chunks)"
        )


class _SetAside(Exception):
    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class ClipReport:
    """What an export made: the clips, and what was set aside."""

    clips: tuple[Clip, ...]
    rejects: tuple[Reject, ...]
    index: Path
    rejects_path: Path

    @property
    def rejects_by_reason(self) -> dict[str, int]:
        return count_by_reason(self.rejects)


@dataclass(frozen=True, slots=True)
class ManifestReport:
    """The manifest as written."""

    path: Path
    digest: str
    clips: tuple[Clip, ...]


def no_progress(_done: int, _total: int) -> None:
    """Tell nobody."""


def index_path(settings: Settings, event: EventSettings) -> Path:
    """Where the clips of an event are listed before they are split."""
    return settings.data_dir / "clips" / f"{event.name}.jsonl"


def rejects_path(settings: Settings, event: EventSettings) -> Path:
    """Where is listed what was set aside for an event."""
    return settings.manifest_dir / f"{event.name}.rejects.jsonl"


def manifest_path(settings: Settings, event: EventSettings) -> Path:
    """Where the manifest of an event is."""
    return settings.manifest_dir / f"{event.name}.jsonl"


def export_clips(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, progress: Progress = no_progress
) -> ClipReport:
    """Write a clip for every usable stash entry, the index of all clips, and what was set aside.

    Raises:
        EmptyStash: there is nothing to export.
        NoAudioFound: there are entries, but none has audio.
    """
    total = count_stash(database)
    if total == 0:
        raise EmptyStash
    clips: list[Clip] = []
    rejects: list[Reject] = []
    for done, document in enumerate(iter_stash(database), 1):
        try:
            clips.append(_clip_of(database, settings, event, parse_stash_entry(document)))
        except MalformedDocument as error:
            rejects.append(_reject(document, RejectReason.MALFORMED_DOCUMENT, str(error)))
        except _SetAside as error:
            rejects.append(_reject(document, error.reason, error.detail))
        progress(done, total)
    if not clips and any(reject.reason is RejectReason.NO_AUDIO for reject in rejects):
        with_chunks = sum(has_audio(database, reject.conversation_id or "") for reject in rejects)
        raise NoAudioFound(total, with_chunks)
    report = ClipReport(tuple(clips), tuple(rejects), index_path(settings, event), rejects_path(settings, event))
    write_manifest(report.index, clips)
    write_rejects(report.rejects_path, rejects)
    return report


def write_training_manifest(
    settings: Settings, event: EventSettings, *, min_samples: int | None = None, output: Path | None = None
) -> ManifestReport:
    """Split the clips by conversation and write the manifest.

    Args:
        min_samples: how many clips there must be; `settings.min_samples` if not given.
        output: another place for the manifest.

    Raises:
        TooFewSamples: there are fewer clips than `min_samples`; the manifest is left as it was.
        BrokenManifest: no export has been made.
    """
    fractions = settings.clips.validation_fraction, settings.clips.test_fraction
    clips = [
        replace(clip, split=split_of(clip.conversation_id, *fractions))
        for clip in read_manifest(index_path(settings, event))
    ]
    needed = settings.min_samples if min_samples is None else min_samples
    if len(clips) < needed:
        raise TooFewSamples(len(clips), needed)
    path = output or manifest_path(settings, event)
    return ManifestReport(path, write_manifest(path, clips), tuple(clips))


def _clip_of(database: Database[dict[str, Any]], settings: Settings, event: EventSettings, entry: StashEntry) -> Clip:
    conversation = get_conversation(database, entry.conversation_id, version_id=entry.version_id)
    if conversation and conversation.deleted:
        raise _SetAside(RejectReason.CONVERSATION_DELETED)
    version = conversation.version(entry.version_id) if conversation else None
    text = _text_for(event, settings.events, entry.transcript or (version.transcript if version else ""))
    if not text:
        raise _SetAside(RejectReason.NO_TRANSCRIPT)
    audio = _audio_of(database, entry.conversation_id, settings.clips.max_seconds)
    data = wav_bytes(audio.samples)
    path = settings.audio_dir.resolve() / f"{_file_name(entry.conversation_id)}.wav"
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data)
    created_at = (
        entry.created_at or (conversation.created_at if conversation else None) or datetime.fromtimestamp(0, UTC)
    )
    return Clip(
        audio=str(path),
        text=text,
        timestamp=created_at.isoformat(),
        type="positive",
        event=event.name,
        contains_event=event.source_tag in text,
        start=0.0,
        end=round(audio.seconds, 3),
        duration=round(audio.seconds, 3),
        source=STASH,
        conversation_id=entry.conversation_id,
        version_id=entry.version_id,
        audio_sha256=hashlib.sha256(data).hexdigest(),
        words=_words_of(version, event),
        event_time=_event_time(version, event),
    )


def _audio_of(database: Database[dict[str, Any]], conversation_id: str, max_seconds: float) -> ConversationAudio:
    try:
        return conversation_audio(database, conversation_id, max_seconds=max_seconds)
    except AudioTooLong as error:
        raise _SetAside(RejectReason.TOO_LONG, str(error)) from error
    except NoAudio as error:
        reason = RejectReason.UNDECODABLE_AUDIO if has_audio(database, conversation_id) else RejectReason.NO_AUDIO
        raise _SetAside(reason, str(error)) from error


def _text_for(event: EventSettings, events: Iterable[EventSettings], transcript: str) -> str:
    """The transcript with this event's tag and nobody else's."""
    for other in events:
        if other.source_tag != event.source_tag:
            transcript = transcript.replace(other.source_tag, " ")
    return " ".join(transcript.split())


def _words_of(version: TranscriptVersion | None, event: EventSettings) -> tuple[ClipWord, ...]:
    words = version.words if version else ()
    return tuple(
        ClipWord(word.text, word.start, word.end)
        for word in words
        if word.start is not None and word.end is not None and word.text != event.source_tag
    )


def _event_time(version: TranscriptVersion | None, event: EventSettings) -> float | None:
    """When the event is heard: at the tag among the words, or at an event segment of its name."""
    if version is None:
        return None
    times = [word.start for word in version.words if word.text == event.source_tag]
    times += [segment.start for segment in version.segments if segment.text.casefold() == f"[{event.name}]"]
    return next((time for time in times if time is not None), None)


def _file_name(conversation_id: str) -> str:
    """The id itself if it is a plain name (it is a UUID), else one made from it."""
    if re.fullmatch(r"[\w-]{1,100}", conversation_id):
        return conversation_id
    return hashlib.sha256(conversation_id.encode()).hexdigest()[:32]


def _reject(document: Document, reason: RejectReason, detail: str) -> Reject:
    conversation_id = document.get("conversation_id")
    return Reject(reason, STASH, str(document.get("_id")), str(conversation_id) if conversation_id else None, detail)
