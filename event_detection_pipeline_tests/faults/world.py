"""The world of one case: a folder, a database, and what people and Chronicle do to them meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.chronicle.database import (
    CONVERSATIONS,
    EVENT_SCAN_LEASES,
    connect,
    ensure_indexes,
)
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.review.answers import record, settle_unfinished
from event_detection_pipeline.review.flagged import iter_flagged
from event_detection_pipeline.review.reviews import Answer, Said
from event_detection_pipeline.scan.leases import LEASE_TIME, Leases
from event_detection_pipeline.scan.work import Work

Db = Database[dict[str, Any]]

CHIME = EventSettings(name="chime")
SNEEZE = EventSettings(name="sneeze")

# What Chronicle's models know of a version: the rest is lost when it saves.
_KNOWN = ("version_id", "transcript", "words", "segments", "maybe_anomaly", "verified_at", "rejected_at")


@dataclass(frozen=True)
class World:
    """Where a case takes place.

    Attributes:
        models: adapters and base models, made once for all cases.
        seed: decides what there is in it.
    """

    folder: Path
    models: Path
    uri: str
    name: str
    seed: int

    @property
    def settings(self) -> Settings:
        return Settings(
            data_dir=self.folder / "data",
            base_model=str(self.models / "whisper"),
            device="cpu",
            events=(CHIME, SNEEZE),
            min_samples=0,
        )

    def open(self, uri: str | None = None) -> Db:
        return connect(uri or self.uri, self.name, timeout_seconds=2)


def say(database: Db, conversation_id: str, answer: Said, reviewer: str) -> dict[str, int]:
    """A person answers; the revision of each event's review."""
    said = Answer(conversation_id, f"{conversation_id}-v1", answer, reviewer)
    return record(database, said, configured=[CHIME.name], copy_audio=False).revisions


def upkeep(database: Db, adapters: dict[str, str]) -> None:
    """What happens by itself within the hour: a look at all conversations, a start of the review server, its list."""
    with Leases(database, adapters.values()) as leases:
        leases.finish(list(Work(database, adapters, leases, limit=None)))
    settle_unfinished(database, copy_audio=False)
    list(iter_flagged(database))


def let_leases_expire(database: Db) -> None:
    """As if five minutes had passed since they were made, also by a process whose clock is wrong."""
    passed = LEASE_TIME / timedelta(milliseconds=1)
    earlier = {"$set": {"expires": {"$subtract": ["$expires", round(passed)]}}}
    database[EVENT_SCAN_LEASES].update_many({}, [earlier])


def save_as_chronicle_does(database: Db, until: Callable[[], bool]) -> int:
    """Load whole conversations and save them a moment later, with what Chronicle knows of them; how often."""
    saved = 0
    while not until():
        for document in database[CONVERSATIONS].find({"deleted": {"$ne": True}}):
            time.sleep(0.002)
            versions = document.get("transcript_versions", [])
            kept = [{name: one[name] for name in _KNOWN if name in one} for one in versions]
            database[CONVERSATIONS].replace_one({"_id": document["_id"]}, document | {"transcript_versions": kept})
            saved += 1
    return saved


def index_as_chronicle_does(database: Db) -> None:
    database[CONVERSATIONS].create_index("conversation_id", unique=True)
    ensure_indexes(database)
