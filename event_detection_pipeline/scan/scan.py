"""The scan: every version that nobody answered is scored by every promoted adapter, in one pass over its audio."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.adapters.detector import Detector, LoadedAdapter
from event_detection_pipeline.chronicle.audio import AudioTooLong, NoAudio, conversation_audio
from event_detection_pipeline.chronicle.database import ensure_indexes
from event_detection_pipeline.chronicle.documents import MalformedDocument, TranscriptVersion, Word
from event_detection_pipeline.chronicle.queries import get_conversation
from event_detection_pipeline.config import ClipSettings, ScanSettings
from event_detection_pipeline.progress import log_progress
from event_detection_pipeline.scan.listen import Heard, Window, cut, listen, loudest
from event_detection_pipeline.scan.pending import PendingVersion, iter_pending
from event_detection_pipeline.scan.results import VersionScore, reassert_flags, write_results

logger = logging.getLogger(__name__)

# Decoded audio in memory at a time (64 kB a second); a longer conversation is a group of its own.
MAX_GROUP_SECONDS = 1800.0
# A conversation this young may have its audio still to come: it is looked at again, not put on record as silent.
UPLOAD_TIME = timedelta(days=1)


@dataclass(slots=True)
class ScanReport:
    """What a scan did. `kept_back` versions were answered by a person, or deleted, while they were being scanned."""

    scanned: int = 0
    flagged: int = 0
    kept_back: int = 0
    problems: dict[str, int] = field(default_factory=dict)
    examples: list[VersionScore] = field(default_factory=list)


def scan(
    database: Database[dict[str, Any]],
    detectors: Sequence[Detector],
    settings: ScanSettings,
    clips: ClipSettings,
    *,
    limit: int | None = None,
) -> ScanReport:
    """Scan what is pending for these detectors' adapters, at most `limit` versions, and write what was heard.

    A group of versions is written before the next one is decoded: a scan that is killed loses at most one group, and
    the next scan takes it up.
    """
    ensure_indexes(database)
    lost = reassert_flags(database)
    if lost:
        logger.info("%d flags that Chronicle had overwritten were set again", lost)
    adapters = [adapter.name for detector in detectors for adapter in detector.adapters]
    report = ScanReport()
    pending = list(islice(iter_pending(database, adapters), limit))
    progress = log_progress(logger, "scanned")
    done = 0
    for group in _groups(database, pending, detectors, report, settings, clips):
        scores = group.unheard + _score(detectors, group, settings)
        written = write_results(database, scores)
        _count(report, scores, written.kept_back)
        done += group.versions
        progress(done, len(pending))
    return report


@dataclass(slots=True)
class _Group:
    """Versions that are scored together, so that batches are full: their windows, and who each belongs to."""

    versions: int = 0
    windows: list[Window] = field(default_factory=list)
    owners: list[PendingVersion] = field(default_factory=list)
    unheard: list[VersionScore] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(window.end - window.start for window in self.windows)


def _groups(
    database: Database[dict[str, Any]],
    pending: Sequence[PendingVersion],
    detectors: Sequence[Detector],
    report: ScanReport,
    settings: ScanSettings,
    clips: ClipSettings,
) -> Iterator[_Group]:
    """Decode one group after the other; memory holds one, whatever the length of the conversations."""
    group = _Group()
    for version in pending:
        group.versions += 1
        try:
            windows = _windows_of(database, version, clips)
            group.windows += windows
            group.owners += [version] * len(windows)
        except _NotYet as error:
            report.problems[error.problem] = report.problems.get(error.problem, 0) + 1
        except (NoAudio, AudioTooLong, MalformedDocument) as error:
            logger.warning("conversation %s is not scanned: %s", version.conversation_id, error)
            group.unheard += [
                _result(version, adapter, problem=type(error).__name__)
                for detector in detectors
                for adapter in detector.adapters
            ]
        if group.versions >= settings.batch_size or group.seconds >= MAX_GROUP_SECONDS:
            yield group
            group = _Group()
    if group.versions:
        yield group


def _score(detectors: Sequence[Detector], group: _Group, settings: ScanSettings) -> list[VersionScore]:
    scores = []
    for detector in detectors:
        heard = listen(detector, group.windows, settings.batch_size)
        for adapter in detector.adapters:
            by_version: dict[PendingVersion, list[Heard]] = {}
            for version, one in zip(group.owners, heard[adapter.name], strict=True):
                by_version.setdefault(version, []).append(one)
            for version, windows in by_version.items():
                best = loudest(windows)
                scores.append(_result(version, adapter, score=best.score, time=best.time))
    return scores


class _NotYet(Exception):
    """There is nothing to hear and nothing to put on record: it was deleted meanwhile, or is still being recorded."""

    def __init__(self, problem: str) -> None:
        self.problem = problem


def _windows_of(database: Database[dict[str, Any]], pending: PendingVersion, clips: ClipSettings) -> list[Window]:
    conversation = get_conversation(database, pending.conversation_id, version_id=pending.version_id)
    version = conversation.version(pending.version_id) if conversation else None
    if conversation is None or version is None or conversation.deleted:
        raise _NotYet("deleted meanwhile")
    try:
        audio = conversation_audio(database, pending.conversation_id)
    except NoAudio:
        if conversation.created_at and datetime.now(UTC) - conversation.created_at < UPLOAD_TIME:
            raise _NotYet("no audio yet") from None
        raise
    return cut(audio.samples, _words_of(version, audio.seconds, clips), clips)


def _words_of(version: TranscriptVersion, seconds: float, clips: ClipSettings) -> tuple[Word, ...] | None:
    """The words to feed the decoder: with times if there are any, without for a recording that is a single window."""
    if version.words and all(word.start is not None for word in version.words):
        return version.words
    if version.transcript and seconds <= clips.max_seconds:
        return tuple(Word(text, None, None) for text in version.transcript.split())
    return None


def _result(
    pending: PendingVersion,
    adapter: LoadedAdapter,
    *,
    score: float | None = None,
    time: float | None = None,
    problem: str | None = None,
) -> VersionScore:
    return VersionScore(
        pending.conversation_id,
        pending.version_id,
        adapter.detection.event,
        adapter.name,
        score,
        adapter.detection.threshold,
        time,
        problem,
    )


def _count(report: ScanReport, scores: Sequence[VersionScore], kept_back: int) -> None:
    versions = {(score.conversation_id, score.version_id) for score in scores}
    flagged = {(score.conversation_id, score.version_id) for score in scores if score.flagged}
    report.scanned += len(versions)
    report.flagged += len(flagged)
    report.kept_back += kept_back
    for problem in {(score.conversation_id, score.problem) for score in scores if score.problem}:
        report.problems[str(problem[1])] = report.problems.get(str(problem[1]), 0) + 1
    report.examples += [score for score in scores if score.flagged]
