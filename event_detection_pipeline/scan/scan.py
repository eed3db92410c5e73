"""The scan: every version that nobody answered is scored by every promoted adapter, in one pass over its audio."""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.chronicle.audio import AudioTooLong, NoAudio
from event_detection_pipeline.chronicle.database import ensure_indexes
from event_detection_pipeline.chronicle.documents import MalformedDocument
from event_detection_pipeline.config import ClipSettings, ScanSettings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.progress import INTERVAL_SECONDS
from event_detection_pipeline.scan.leases import MAX_ATTEMPTS, Leases
from event_detection_pipeline.scan.listen import batch_size
from event_detection_pipeline.scan.pending import PendingVersion
from event_detection_pipeline.scan.pipeline import prepared
from event_detection_pipeline.scan.results import VersionScore, write_results, write_shadow
from event_detection_pipeline.scan.tally import Finished, Piece, Tally
from event_detection_pipeline.scan.windows import NotYet, version_windows
from event_detection_pipeline.scan.work import Work

logger = logging.getLogger(__name__)

# Threads that decode: FFmpeg works outside Python's lock, what stays inside it is worth no more threads than these.
DECODERS = min(8, os.cpu_count() or 1)
# Windows are scored in groups of so many batches, so that batches of one padded length are full. As many again wait
# decoded: at 12 s a window that is 50 MB in all on a CPU and at most 400 MB on a card, however long a conversation is;
# encoder states of one group come on top, 1.5 MB a window with large-v3.
GROUP_BATCHES = 8
EXAMPLES = 100  # flags that a report lists


@dataclass(slots=True)
class ScanReport:
    """What a scan did.

    Attributes:
        adapters: names of the promoted adapters.
        scanned: versions that are on record now, also those without a score.
        answered: versions that a person answered while they were being scanned.
        gone: versions that were deleted or replaced meanwhile.
        seconds: of audio that was listened to.
        restored: flags that Chronicle had lost.
        lost_answers: answers that Chronicle had lost; `review` carries them out again.
        problems: why versions have no score.
        shadow_flagged: what candidates would have flagged, by adapter.
        examples: some of the flags.
    """

    adapters: tuple[str, ...] = ()
    scanned: int = 0
    flagged: int = 0
    answered: int = 0
    gone: int = 0
    seconds: float = 0.0
    restored: int = 0
    lost_answers: int = 0
    problems: dict[str, int] = field(default_factory=dict)
    shadow_flagged: dict[str, int] = field(default_factory=dict)
    examples: list[VersionScore] = field(default_factory=list)


def scan(
    database: Database[dict[str, Any]],
    detectors: Sequence[Detector],
    settings: ScanSettings,
    clips: ClipSettings,
    *,
    limit: int | None = None,
    shadow: Collection[str] = (),
    overtaken: Callable[[], bool] = lambda: False,
) -> ScanReport:
    """Scan what is pending for these detectors' adapters, at most `limit` versions, and write what was heard.

    Decoding runs ahead of the model and writing behind it. Several scans at once share the work, in this process or on
    other machines; one that is killed loses what it had in work, and the next one takes that up (see Work).

    Args:
        shadow: names of those among the adapters that are candidates: they hear what the others hear, and their scores
            are kept apart without a flag. They make no work.
        overtaken: whether others than these adapters are promoted now; the scan ends then.

    Raises:
        OutOfMemory, ChronicleUnavailable.
    """
    ensure_indexes(database)
    adapters = [adapter for detector in detectors for adapter in detector.adapters]
    promoted = {adapter.detection.event: adapter.name for adapter in adapters if adapter.name not in shadow}
    report = ScanReport(tuple(promoted.values()))
    size = batch_size(detectors, settings)
    ahead = GROUP_BATCHES * size.clips
    tally, progress, pieces_of = Tally(detectors, size), _Progress(), partial(_pieces, database, clips)
    with Leases(database, promoted.values()) as leases, ThreadPoolExecutor(1, "scan-writer") as writer:
        work = Work(database, promoted, leases, limit, overtaken)

        def listen_to(versions: Iterable[PendingVersion]) -> None:
            written: Future[None] | None = None
            with closing(prepared(versions, pieces_of, threads=DECODERS, ahead=ahead)) as pieces:
                while group := list(islice(pieces, ahead)):
                    finished = tally.add(group)
                    report.seconds += sum(piece.window.end - piece.window.start for piece in group if piece.window)
                    # The writes of one group overlap with the scoring of the next; no more than one waits.
                    if written:
                        written.result()
                    written = writer.submit(_write, database, leases, report, finished, shadow)
                    progress(report)
            if written:
                written.result()

        for suspect in work.suspects():
            listen_to([suspect])
        listen_to(work)
    report.restored, report.lost_answers = work.restored_flags, work.lost_answers
    return report


def _pieces(database: Database[dict[str, Any]], clips: ClipSettings, version: PendingVersion) -> Iterator[Piece]:
    """A version's windows, and its end."""
    problem, skipped = None, None
    try:
        if version.attempts > MAX_ATTEMPTS:
            raise _ScansDied(f"{MAX_ATTEMPTS} scans died while they had it in work")
        for window in version_windows(database, version, clips):
            yield Piece(version, window)
    except NotYet as error:
        skipped = str(error)
    except (NoAudio, AudioTooLong, MalformedDocument, _ScansDied) as error:
        logger.warning("conversation %s is not scanned: %s", version.conversation_id, error)
        problem = type(error).__name__.removeprefix("_")
    yield Piece(version, problem=problem, skipped=skipped)


class _ScansDied(PipelineError):
    """Something about a version kills the process that scans it."""


def _write(
    database: Database[dict[str, Any]],
    leases: Leases,
    report: ScanReport,
    finished: Sequence[Finished],
    shadow: Collection[str],
) -> None:
    scores = [score for one in finished for score in one.scores]
    kept = [score for score in scores if score.adapter not in shadow]
    written = write_results(database, kept)
    write_shadow(database, [score for score in scores if score.adapter in shadow])
    leases.finish([one.version for one in finished])
    report.answered += written.answered
    report.gone += written.gone
    _count(report, finished, kept)
    for score in scores:
        if score.adapter in shadow:
            report.shadow_flagged[score.adapter] = report.shadow_flagged.get(score.adapter, 0) + score.flagged


def _count(report: ScanReport, finished: Sequence[Finished], scores: Sequence[VersionScore]) -> None:
    problems = {score.version: score.problem for score in scores if score.problem}
    flagged = [score for score in scores if score.flagged]
    report.scanned += sum(1 for one in finished if not one.skipped)
    report.flagged += len({score.version for score in flagged})
    for problem in [*problems.values(), *(one.skipped for one in finished if one.skipped)]:
        report.problems[str(problem)] = report.problems.get(str(problem), 0) + 1
    report.examples = (report.examples + flagged)[:EXAMPLES]


class _Progress:
    """Says every few seconds how far a scan is; how much there is to do is known only at its end."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()

    def __call__(self, report: ScanReport) -> None:
        now = time.monotonic()
        if now - self._last < INTERVAL_SECONDS:
            return
        self._last = now
        speed = report.seconds / (now - self._started)
        logger.info(
            "%d versions scanned, %.1f h of audio, %.0f times real time", report.scanned, report.seconds / 3600, speed
        )
