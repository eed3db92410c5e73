"""From what people said to clips on disk, and from clips to the manifest that training reads."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, ensure_indexes
from event_detection_pipeline.chronicle.queries import has_audio
from event_detection_pipeline.clips.changes import Changes, compare
from event_detection_pipeline.clips.cutting import Outcome, cut
from event_detection_pipeline.clips.index import ClipIndex, open_index
from event_detection_pipeline.clips.manifest import Clip, parse_clip, read_manifest, write_lines
from event_detection_pipeline.clips.mixing import mix_clip, mix_tasks
from event_detection_pipeline.clips.parallel import run_all
from event_detection_pipeline.clips.prepare import Preparer
from event_detection_pipeline.clips.recordings import list_recordings
from event_detection_pipeline.clips.rejects import Reject, RejectReason, count_by_reason, write_rejects
from event_detection_pipeline.clips.sources import BACKGROUND, Candidate, list_candidates
from event_detection_pipeline.clips.splits import split_of
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.progress import Progress

logger = logging.getLogger(__name__)

# Part of every fingerprint: raise it when the same material would become other clips.
_CLIP_FORMAT = 1
# Settings that say how many, how fast, or whether it is enough, but never what a clip is.
_WITHOUT_INFLUENCE = {
    "mixes_per_recording",
    "mixes_per_other_sound",
    "background_conversations",
    "processes",
    "min_events_per_split",
    "min_others_per_split",
}
_WITHOUT_AUDIO = (RejectReason.NO_AUDIO, RejectReason.UNDECODABLE_AUDIO)


class EmptyStash(PipelineError):
    """Nobody has stashed or confirmed anything, nor given a recording."""

    def __init__(self) -> None:
        super().__init__(
            "the training stash is empty: swipe left on a wrong flag in the user loop to stash samples, then export "
            "again; or give recordings of the event with `event-detection bootstrap`"
        )


class TooFewSamples(PipelineError):
    """Fewer clips than training needs."""

    def __init__(self, found: int, needed: int) -> None:
        self.found, self.needed = found, needed
        super().__init__(
            f"{found} clips, {needed} are needed: give recordings (`event-detection bootstrap --audio-dir DIR`), "
            "review more flags in the user loop, or lower min_samples (--min-samples)"
        )


class NoAudioFound(PipelineError):
    """Not one conversation has audio that can be used."""

    def __init__(self, entries: int, with_chunks: int) -> None:
        self.entries, self.with_chunks = entries, with_chunks
        super().__init__(
            f"no usable audio for any of the {entries} reviewed transcripts; {with_chunks} of them have audio chunks "
            "in MongoDB. Check that MONGODB_DATABASE is Chronicle's and that it keeps audio (audio_chunks)"
        )


class OtherDatabase(PipelineError):
    """The database has no conversations, though clips were made of some."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the database {name!r} holds no conversations, but clips have been made of some: is MONGODB_DATABASE "
            "right? Nothing was removed. If all conversations are really gone, remove clips.sqlite and the folder "
            "audio from data_dir"
        )


@dataclass(frozen=True)
class ClipReport:
    """What there is after an export: all clips and what was set aside.

    Attributes:
        made: how much material was new or had changed.
        kept: how much of it kept the clips it had, as its audio is gone.
    """

    lines: tuple[str, ...]
    rejects: tuple[Reject, ...]
    made: int
    kept: int
    rejects_path: Path

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        return tuple(parse_clip(line, "the index of clips") for line in self.lines)

    @cached_property
    def rejects_by_reason(self) -> dict[str, int]:
        return count_by_reason(self.rejects)


@dataclass(frozen=True)
class ManifestReport:
    """The manifest as written, and how it differs from the one before."""

    path: Path
    digest: str
    changes: Changes

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        return tuple(read_manifest(self.path))


def no_progress(_done: int, _total: int) -> None:
    """Tell nobody."""


def index_path(settings: Settings) -> Path:
    """Where the clips of all events are listed."""
    return settings.data_dir / "clips.sqlite"


def rejects_path(settings: Settings, event: EventSettings) -> Path:
    """Where is listed what was set aside for an event."""
    return settings.manifest_dir / f"{event.name}.rejects.jsonl"


def manifest_path(settings: Settings, event: EventSettings) -> Path:
    """Where the manifest of an event is."""
    return settings.manifest_dir / f"{event.name}.jsonl"


@contextmanager
def nobody_else_exports(settings: Settings) -> Iterator[None]:
    """Wait for the end of what exports into this data_dir, and keep others from it meanwhile.

    Held from reading what there is until what was made of it is listed, by whoever makes clips (of the database) or a
    manifest (of the index), and by whoever forgets a conversation: it must not come back out of what was read before.
    All events share it, as they share files: what one has cut and not yet listed looks unneeded to another. Between
    clips and manifest, which are steps of their own, nothing needs to be held: the manifest is made of what the index
    says by then.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.data_dir / ".export.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("another export is running; waiting for the end of it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def export_clips(
    database: Database[dict[str, Any]], settings: Settings, event: EventSettings, progress: Progress = no_progress
) -> ClipReport:
    """Make clips of all that people said and gave; what was made before and has not changed is not touched.

    Raises:
        EmptyStash: there is nothing to export.
        OtherDatabase: there are clips, but not one conversation.
        NoAudioFound: there is something, but none of it has audio.
    """
    with nobody_else_exports(settings):
        is_chronicle = database[CONVERSATIONS].estimated_document_count() > 0
        if is_chronicle:
            ensure_indexes(database)
        recordings = list_recordings(settings, event)
        candidates, unusable = list_candidates(database, event, settings, with_background=bool(recordings))
        with open_index(index_path(settings), event.name) as index:
            if not is_chronicle and index.fingerprints():
                raise OtherDatabase(database.name)  # one letter wrong in a name must not cost a night of decoding
            made, kept = _make_all(database, settings, event, index, candidates, progress)
            index.sweep()
            if not candidates and not unusable and not recordings:
                raise EmptyStash
            set_aside = [reject for reject in index.rejects() if reject.source != BACKGROUND]
            listed = rejects_path(settings, event)
            report = ClipReport(tuple(index.lines()), (*unusable, *set_aside), made, kept, listed)
        without_audio = [reject for reject in report.rejects if reject.reason in _WITHOUT_AUDIO]
        if not report.lines and without_audio:
            with_chunks = sum(has_audio(database, reject.conversation_id or "") for reject in without_audio)
            raise NoAudioFound(len(report.rejects), with_chunks)
        write_rejects(report.rejects_path, report.rejects)
        return report


def write_training_manifest(
    settings: Settings, event: EventSettings, *, min_samples: int | None = None, output: Path | None = None
) -> ManifestReport:
    """Write the manifest of the clips that the last export left.

    Args:
        min_samples: how many clips there must be; `settings.min_samples` if not given.
        output: another place for the manifest.

    Raises:
        TooFewSamples: there are fewer clips than `min_samples`; the manifest is left as it was.
    """
    needed = settings.min_samples if min_samples is None else min_samples
    with nobody_else_exports(settings):
        with open_index(index_path(settings), event.name) as index:
            lines = index.lines()
        if len(lines) < needed:
            raise TooFewSamples(len(lines), needed)
        path = output or manifest_path(settings, event)
        before = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] if path.is_file() else []
        return ManifestReport(path, write_lines(path, lines), compare(before, lines))


def _make_all(
    database: Database[dict[str, Any]],
    settings: Settings,
    event: EventSettings,
    index: ClipIndex,
    candidates: dict[str, Candidate],
    progress: Progress,
) -> tuple[int, int]:
    """Bring the index up to date; how many pieces of material had to be made, and how many of them kept old clips."""
    recipe = _recipe(settings, event)

    def fingerprint(candidate: Candidate) -> str:
        return f"{candidate.fingerprint} {recipe}"

    index.move_to(settings.audio_dir.resolve())
    index.keep_only(candidates, "conversation/")
    known = index.fingerprints()
    new = [one for one in candidates.values() if known.get(one.key) != fingerprint(one)]
    kept = 0
    tasks = Preparer(database, settings, event).tasks(new, fingerprint)
    for done, outcome in enumerate(run_all(cut, tasks, expected=len(new), processes=settings.clips.processes), 1):
        outlived = _outlived(database, settings, event, index, candidates[outcome.key], outcome)
        kept += outlived is not None
        index.put(outlived or outcome)
        progress(done, len(new))
    if kept:
        logger.warning(
            "%d transcripts keep the clips they had: Chronicle has no audio any more to make them anew from", kept
        )

    # Reading all clips costs more than all the rest of an export that finds nothing new.
    backgrounds = _backgrounds(index) if list_recordings(settings, event) else []
    mixes = list(mix_tasks(settings, event, backgrounds, recipe))
    index.keep_only((task.key for task in mixes), "recording/")
    missing = [task for task in mixes if known.get(task.key) != task.fingerprint]
    mixed = run_all(mix_clip, missing, expected=len(missing), processes=settings.clips.processes)
    for done, outcome in enumerate(mixed, 1):
        index.put(outcome)
        progress(done, len(missing))
    return len(new) + len(missing), kept


def _outlived(
    database: Database[dict[str, Any]],
    settings: Settings,
    event: EventSettings,
    index: ClipIndex,
    candidate: Candidate,
    outcome: Outcome,
) -> Outcome | None:
    """The clips that material had, where its audio is gone and nothing that was said of it has changed.

    Chronicle may remove audio after a while: what was cut before is all that is left of it. A deleted conversation has
    no such claim. The fingerprint is without a recipe, so that the next export looks for the audio again.
    """
    if outcome.clips or not all(reject.reason in _WITHOUT_AUDIO for reject in outcome.rejects):
        return None
    fingerprint, clips = index.clips_of(outcome.key)
    unchanged = fingerprint.startswith(candidate.fingerprint) and all(
        clip.contains_event == (event.source_tag in clip.text) for clip in clips
    )
    alive = {"conversation_id": candidate.conversation_id, "deleted": {"$ne": True}}
    if not clips or not unchanged or not database[CONVERSATIONS].find_one(alive, {"_id": 1}):
        return None
    fractions = settings.clips.validation_fraction, settings.clips.test_fraction
    split = split_of(candidate.conversation_id, *fractions)
    kept = tuple(replace(clip, split=split) for clip in clips)
    return replace(outcome, fingerprint=candidate.fingerprint, clips=kept, rejects=())


def _backgrounds(index: ClipIndex) -> list[Clip]:
    """Clips without the event whose pauses are known."""
    return [
        clip
        for clip in index.clips()
        if not clip.contains_event and clip.recording is None and (clip.words or not clip.text)
    ]


def _recipe(settings: Settings, event: EventSettings) -> str:
    """A digest of every setting that decides what a clip is."""
    decides = settings.clips.model_dump(exclude=_WITHOUT_INFLUENCE)
    tags = sorted(other.source_tag for other in settings.events)
    return _digest(_CLIP_FORMAT, event.name, event.source_tag, tags, sorted(decides.items()))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
