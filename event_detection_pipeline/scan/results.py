"""What a scan writes: `event_scans` keeps every score, `maybe_anomaly` is set where no person has answered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import (
    CONVERSATIONS,
    EVENT_REVIEWS,
    EVENT_SCANS,
    EVENT_SHADOW_SCANS,
    patiently,
)
from event_detection_pipeline.scan.pending import ANSWERED, ANSWERS, Examined, PendingVersion


@dataclass(frozen=True, slots=True)
class VersionScore:
    """What one adapter heard in one transcript version.

    Attributes:
        score: highest marker probability in [0, 1]; None where there was nothing to listen to (see `problem`).
        time: seconds into the conversation of that place, None where the words have no times.
        times: seconds of the best place of each window at or above the threshold, loudest first.
        problem: why there is no score.
    """

    conversation_id: str
    version_id: str
    event: str
    adapter: str
    score: float | None
    threshold: float
    time: float | None = None
    times: tuple[float, ...] = ()
    problem: str | None = None

    @property
    def flagged(self) -> bool:
        return self.score is not None and self.score >= self.threshold

    @property
    def version(self) -> PendingVersion:
        return PendingVersion(self.conversation_id, self.version_id)


@dataclass(frozen=True, slots=True)
class Written:
    """How many versions' flags say what the scan found, how many a person had answered meanwhile, and how many were
    gone: deleted, or replaced."""

    flags: int
    answered: int
    gone: int


def write_results(database: Database[dict[str, Any]], scores: Sequence[VersionScore]) -> Written:
    """Write flags, then scores; writing the same again changes nothing.

    Flags first: a crash between the two leaves a version that looks unscanned and is scanned again, never one that
    looks scanned and lacks its flag.
    """
    return patiently(database, lambda: _write_results(database, scores)) if scores else Written(0, 0, 0)


def write_shadow(database: Database[dict[str, Any]], scores: Iterable[VersionScore]) -> None:
    """Keep what candidates heard apart, in `event_shadow_scans`: no flag, no queue and no figure knows of it."""
    upserts = [
        UpdateOne(_key(score) | {"adapter": score.adapter}, {"$set": _found(score)}, upsert=True) for score in scores
    ]
    if upserts:
        patiently(database, lambda: database[EVENT_SHADOW_SCANS].bulk_write(upserts, ordered=False))


def restore(database: Database[dict[str, Any]], examined: Examined) -> int:
    """Set again what Chronicle lost by saving an older copy of a conversation; how many flags were.

    A lost answer, also one that was taken back, is marked in `event_reviews` as not carried out, for the room that
    carries answers out.
    """
    for version in examined.lost_answers:
        query = {"conversation_id": version.conversation_id, "version_id": version.version_id}
        patiently(
            database,
            lambda query=query: database[EVENT_REVIEWS].update_many(query, {"$set": {"settled": False}}),
        )
    # Between the look and this write another scan may have found something: only what is empty becomes False.
    updates = [
        _flag(version, flag, {"$nin": list(ANSWERS)} if flag else None) for version, flag in examined.lost_flags.items()
    ]
    if not updates:
        return 0
    return patiently(database, lambda: database[CONVERSATIONS].bulk_write(updates, ordered=False)).modified_count


def _write_results(database: Database[dict[str, Any]], scores: Sequence[VersionScore]) -> Written:
    flags: dict[PendingVersion, bool] = {}
    for score in scores:
        if score.score is not None:
            flags[score.version] = flags.get(score.version, False) or score.flagged
    # What other events' adapters flagged stays flagged when this scan was for one event only.
    others = {
        "conversation_id": {"$in": [version.conversation_id for version in flags]},
        "event": {"$nin": list({score.event for score in scores})},
        "flagged": True,
    }
    for scan in database[EVENT_SCANS].find(others, {"conversation_id": 1, "version_id": 1}):
        version = PendingVersion(scan["conversation_id"], scan["version_id"])
        if version in flags:
            flags[version] = True
    written = _write_flags(database, flags)
    upserts = [UpdateOne(_key(score), {"$set": _found(score)}, upsert=True) for score in scores]
    database[EVENT_SCANS].bulk_write(upserts, ordered=False)
    return written


def _write_flags(database: Database[dict[str, Any]], flags: Mapping[PendingVersion, bool]) -> Written:
    # Chronicle can overwrite an answer with its own older copy; event_reviews still knows it.
    of_these = {"conversation_id": {"$in": [version.conversation_id for version in flags]}}
    answered = {
        PendingVersion(review["conversation_id"], review["version_id"])
        for review in database[EVENT_REVIEWS].find(of_these | ANSWERED, {"conversation_id": 1, "version_id": 1})
    }
    updates = [
        # The condition and the write are one operation: an answer that comes in between cannot be overwritten.
        _flag(version, flag, {"$nin": list(ANSWERS)})
        for version, flag in flags.items()
        if version not in answered
    ]
    written = database[CONVERSATIONS].bulk_write(updates, ordered=False).matched_count if updates else 0
    gone = _gone(database, flags) if written < len(flags) else 0
    return Written(written, len(flags) - written - gone, gone)


def _gone(database: Database[dict[str, Any]], versions: Iterable[PendingVersion]) -> int:
    """How many of the versions are in no conversation that is not deleted."""
    of_versions = [
        {
            "conversation_id": version.conversation_id,
            "deleted": {"$ne": True},
            "transcript_versions.version_id": version.version_id,
        }
        for version in versions
    ]
    return sum(database[CONVERSATIONS].find_one(one, {"_id": 1}) is None for one in of_versions)


def _flag(version: PendingVersion, flag: bool, present: object) -> UpdateOne:
    """Set the flag of a version if it is `present` now and the conversation is not deleted."""
    return UpdateOne(
        {
            "conversation_id": version.conversation_id,
            "deleted": {"$ne": True},
            "transcript_versions": {"$elemMatch": {"version_id": version.version_id, "maybe_anomaly": present}},
        },
        {"$set": {"transcript_versions.$.maybe_anomaly": flag}},
    )


def _key(score: VersionScore) -> dict[str, Any]:
    return {"conversation_id": score.conversation_id, "version_id": score.version_id, "event": score.event}


def _found(score: VersionScore) -> dict[str, Any]:
    return {
        "adapter": score.adapter,
        "score": score.score,
        "threshold": score.threshold,
        "flagged": score.flagged,
        "time": score.time,
        "times": list(score.times),
        "problem": score.problem,
        "scanned_at": datetime.now(UTC),
    }
