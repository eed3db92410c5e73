"""What a scan writes: `event_scans` keeps every score, `maybe_anomaly` is set where no person has answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_REVIEWS, EVENT_SCANS
from event_detection_pipeline.scan.pending import ANSWERED, ANSWERS


@dataclass(frozen=True, slots=True)
class VersionScore:
    """What one adapter heard in one transcript version.

    Attributes:
        score: highest marker probability in [0, 1]; None where there was nothing to listen to (see `problem`).
        time: seconds into the conversation of that place, None where the words have no times.
        problem: why there is no score.
    """

    conversation_id: str
    version_id: str
    event: str
    adapter: str
    score: float | None
    threshold: float
    time: float | None = None
    problem: str | None = None

    @property
    def flagged(self) -> bool:
        return self.score is not None and self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class Written:
    """How many versions' flags say what the scan found, how many were answered by a person or gone meanwhile, and how
    many flags were different before."""

    flags: int
    kept_back: int
    changed: int


def write_results(database: Database[dict[str, Any]], scores: Sequence[VersionScore]) -> Written:
    """Write flags, then scores; writing the same again changes nothing.

    Flags first: a crash between the two leaves a version that looks unscanned and is scanned again, never one that
    looks scanned and lacks its flag.
    """
    if not scores:
        return Written(0, 0, 0)
    flags: dict[tuple[str, str], bool] = {}
    for score in scores:
        if score.score is not None:
            version = score.conversation_id, score.version_id
            flags[version] = flags.get(version, False) or score.flagged
    # What other events' adapters flagged stays flagged when this scan was for one event only.
    others = {
        "conversation_id": {"$in": [conversation_id for conversation_id, _ in flags]},
        "event": {"$nin": list({score.event for score in scores})},
        "flagged": True,
    }
    for scan in database[EVENT_SCANS].find(others, {"conversation_id": 1, "version_id": 1}):
        version = scan["conversation_id"], scan["version_id"]
        if version in flags:
            flags[version] = True
    written = _write_flags(database, flags)
    database[EVENT_SCANS].bulk_write([_upsert(score) for score in scores], ordered=False)
    return written


def reassert_flags(database: Database[dict[str, Any]]) -> int:
    """Set flags again that Chronicle lost by saving an older copy of a conversation; how many were lost.

    Only what a scan flagged and nobody answered is looked at: a handful of versions, however long the history is.
    """
    flagged = {
        (scan["conversation_id"], scan["version_id"]): True
        for scan in database[EVENT_SCANS].find({"flagged": True}, {"conversation_id": 1, "version_id": 1})
    }
    return _write_flags(database, flagged).changed if flagged else 0


def _write_flags(database: Database[dict[str, Any]], flags: dict[tuple[str, str], bool]) -> Written:
    # Chronicle can overwrite an answer with its own older copy; event_reviews still knows it.
    of_these = {"conversation_id": {"$in": [conversation_id for conversation_id, _ in flags]}}
    answered = {
        (review["conversation_id"], review["version_id"])
        for review in database[EVENT_REVIEWS].find(of_these | ANSWERED, {"conversation_id": 1, "version_id": 1})
    }
    updates = [
        UpdateOne(
            {
                "conversation_id": conversation_id,
                "deleted": {"$ne": True},
                # The condition and the write are one operation: an answer that comes in between cannot be overwritten.
                "transcript_versions": {
                    "$elemMatch": {"version_id": version_id, "maybe_anomaly": {"$nin": list(ANSWERS)}}
                },
            },
            {"$set": {"transcript_versions.$.maybe_anomaly": flagged}},
        )
        for (conversation_id, version_id), flagged in flags.items()
        if (conversation_id, version_id) not in answered
    ]
    if not updates:
        return Written(0, len(flags), 0)
    result = database[CONVERSATIONS].bulk_write(updates, ordered=False)
    return Written(result.matched_count, len(flags) - result.matched_count, result.modified_count)


def _upsert(score: VersionScore) -> UpdateOne:
    key = {"conversation_id": score.conversation_id, "version_id": score.version_id, "event": score.event}
    found = {
        "adapter": score.adapter,
        "score": score.score,
        "threshold": score.threshold,
        "flagged": score.flagged,
        "time": score.time,
        "problem": score.problem,
        "scanned_at": datetime.now(UTC),
    }
    return UpdateOne(key, {"$set": found}, upsert=True)
