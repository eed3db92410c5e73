"""The scan: every version that nobody answered is scored by every promoted adapter, in one pass over its audio."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
from event_detection_pipeline.scan.listen import Window, cut, listen, loudest
from event_detection_pipeline.scan.pending import PendingVersion, iter_pending
from event_detection_pipeline.scan.results import VersionScore, write_results

logger = logging.getLogger(__name__)


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
    adapters = [adapter.name for detector in detectors for adapter in detector.adapters]
    report = ScanReport()
    pending = list(islice(iter_pending(database, adapters), limit))
    progress = log_progress(logger, "scanned")
    for group in _groups(pending, settings.batch_size):
        scores = _score_group(database, detectors, group, settings, clips)
        written = write_results(database, scores)
        _count(report, scores, written.kept_back)
        progress(report.scanned, len(pending))
    return report


def _groups(pending: Sequence[PendingVersion], size: int) -> Iterator[Sequence[PendingVersion]]:
    for start in range(0, len(pending), size):
        yield pending[start : start + size]


def _score_group(
    database: Database[dict[str, Any]],
    detectors: Sequence[Detector],
    group: Sequence[PendingVersion],
    settings: ScanSettings,
    clips: ClipSettings,
) -> list[VersionScore]:
    """Score the windows of several versions together, so that batches are full."""
    windows: list[Window] = []
    owners: list[PendingVersion] = []
    scores: list[VersionScore] = []
    for pending in group:
        try:
            found = _windows_of(database, pending, clips)
        except (NoAudio, AudioTooLong, MalformedDocument, _Gone) as error:
            logger.warning("conversation %s is not scanned: %s", pending.conversation_id, error)
            problem = type(error).__name__.lstrip("_")
            scores += [
                _score(pending, adapter, problem=problem) for detector in detectors for adapter in detector.adapters
            ]
            continue
        windows += found
        owners += [pending] * len(found)
    for detector in detectors:
        heard = listen(detector, windows, settings.batch_size)
        for adapter in detector.adapters:
            for pending in dict.fromkeys(owners):
                best = loudest(
                    [one for one, owner in zip(heard[adapter.name], owners, strict=True) if owner == pending]
                )
                scores.append(_score(pending, adapter, score=best.score, time=best.time))
    return scores


class _Gone(Exception):
    """The version was deleted between finding and scanning it."""


def _windows_of(database: Database[dict[str, Any]], pending: PendingVersion, clips: ClipSettings) -> list[Window]:
    conversation = get_conversation(database, pending.conversation_id, version_id=pending.version_id)
    version = conversation.version(pending.version_id) if conversation else None
    if conversation is None or version is None or conversation.deleted:
        raise _Gone("it was deleted meanwhile")
    audio = conversation_audio(database, pending.conversation_id)
    return cut(audio.samples, _words_of(version, audio.seconds, clips), clips)


def _words_of(version: TranscriptVersion, seconds: float, clips: ClipSettings) -> tuple[Word, ...] | None:
    """The words to feed the decoder: with times if there are any, without for a recording that is a single window."""
    if version.words and all(word.start is not None for word in version.words):
        return version.words
    if version.transcript and seconds <= clips.max_seconds:
        return tuple(Word(text, None, None) for text in version.transcript.split())
    return None


def _score(
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
