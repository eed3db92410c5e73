"""Comparison on live conversations: what two adapters hear in the latest ones, and where they disagree."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pymongo import DESCENDING
from pymongo.database import Database

from event_detection_pipeline.adapters.batch_size import BatchSize
from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.adapters.estimate import Estimate
from event_detection_pipeline.adapters.metrics import proportion
from event_detection_pipeline.chronicle.audio import AudioTooLong, NoAudio
from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, patiently
from event_detection_pipeline.chronicle.documents import MalformedDocument
from event_detection_pipeline.config import ClipSettings, ScanSettings
from event_detection_pipeline.progress import log_progress
from event_detection_pipeline.scan.listen import Heard, batch_size, ears_of, listen
from event_detection_pipeline.scan.pending import HEAD, PendingVersion, active_version
from event_detection_pipeline.scan.windows import NotYet, version_windows

logger = logging.getLogger(__name__)

GROUP_BATCHES = 4  # windows in memory, in batches
TRUTH = {"accepted": True, "rejected": False}  # what a person's answer says of the event


@dataclass(frozen=True, slots=True)
class LiveVersion:
    """What both adapters heard in one conversation: highest score and when (seconds into it, None where the words have
    no times). `truth` is what a person said, None where nobody was asked."""

    conversation_id: str
    version_id: str
    first: Heard
    second: Heard
    truth: bool | None


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """One adapter on the conversations; `right` is the share of its flags that people accepted, of those answered."""

    name: str
    threshold: float
    flagged: int
    right: Estimate


@dataclass(frozen=True, slots=True)
class LiveComparison:
    """Two adapters on the same conversations, each at its own threshold; `unheard` had no audio to listen to."""

    versions: tuple[LiveVersion, ...]
    figures: tuple[LiveFigures, LiveFigures]
    unheard: int

    @property
    def disagreements(self) -> list[LiveVersion]:
        """What one flags and the other does not, the widest apart first."""
        first, second = (one.threshold for one in self.figures)
        apart = [one for one in self.versions if (one.first.score >= first) != (one.second.score >= second)]
        return sorted(apart, key=lambda one: -abs(one.first.score - one.second.score))


def compare_live(
    database: Database[dict[str, Any]],
    detectors: Sequence[Detector],
    names: tuple[str, str],
    count: int,
    settings: ScanSettings,
    clips: ClipSettings,
    confidence: float,
) -> LiveComparison:
    """Listen to the active versions of the latest `count` conversations with both adapters. Writes nothing.

    Args:
        detectors: hold the two adapters, together or apart.
        names: the two adapters, such as ("sneeze_v2", "sneeze_v3").
    """
    adapters = {adapter.name: adapter.detection for detector in detectors for adapter in detector.adapters}
    event = adapters[names[0]].event
    progress, size = log_progress(logger, "conversations"), batch_size(detectors, settings)
    found: list[LiveVersion] = []
    unheard = 0
    latest = _latest(database, count)
    for number, version in enumerate(latest, start=1):
        try:
            heard = _hear(database, version, detectors, size, clips)
        except (NotYet, NoAudio, AudioTooLong, MalformedDocument) as error:
            logger.warning("conversation %s is left out: %s", version.conversation_id, error)
            unheard += 1
        else:
            truth = _truth(database, version, event)
            pair = heard[names[0]], heard[names[1]]
            found.append(LiveVersion(version.conversation_id, version.version_id, *pair, truth))
        progress(number, len(latest))
    first, second = (
        _figures(name, adapters[name].threshold, [(getattr(one, side), one.truth) for one in found], confidence)
        for name, side in zip(names, ("first", "second"), strict=True)
    )
    return LiveComparison(tuple(found), (first, second), unheard)


def _latest(database: Database[dict[str, Any]], count: int) -> list[PendingVersion]:
    """Active versions, the newest conversation first: an ObjectId begins with the time. All are read before the first
    is listened to, because no cursor lives as long as that takes."""
    found: list[PendingVersion] = []
    query: dict[str, Any] = {"deleted": {"$ne": True}}
    while len(found) < count:
        heads = patiently(
            database,
            lambda query=query: list(database[CONVERSATIONS].find(query, HEAD).sort("_id", DESCENDING).limit(count)),
        )
        found += [active[0] for head in heads if (active := active_version(head))]
        if len(heads) < count:
            break
        query = query | {"_id": {"$lt": heads[-1]["_id"]}}
    return found[:count]


def _hear(
    database: Database[dict[str, Any]],
    version: PendingVersion,
    detectors: Sequence[Detector],
    size: BatchSize,
    clips: ClipSettings,
) -> dict[str, Heard]:
    ears = ears_of(detectors)
    windows = version_windows(database, version, clips)
    while group := list(islice(windows, GROUP_BATCHES * size.clips)):
        for detector in detectors:
            listen(detector, group, [ears] * len(group), size)
    heard = {name: one.best for name, one in ears.items() if one.best}
    if not heard:
        raise NoAudio(f"conversation {version.conversation_id} is empty")
    return heard


def _truth(database: Database[dict[str, Any]], version: PendingVersion, event: str) -> bool | None:
    key = {"conversation_id": version.conversation_id, "version_id": version.version_id, "event": event}
    review = patiently(database, lambda: database[EVENT_REVIEWS].find_one(key, {"answer": 1}))
    return TRUTH.get(str(review.get("answer"))) if review else None


def _figures(name: str, threshold: float, heard: Sequence[tuple[Heard, bool | None]], confidence: float) -> LiveFigures:
    flagged = [truth for one, truth in heard if one.score >= threshold]
    answered = [truth for truth in flagged if truth is not None]
    return LiveFigures(name, threshold, len(flagged), proportion(sum(answered), len(answered), confidence))
