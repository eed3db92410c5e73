"""Which adapters are kept, and why; the others are deleted when a person or a job asks for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.chronicle.database import EVENT_REVIEWS, EVENT_SCANS


@dataclass(frozen=True, slots=True)
class Kept:
    """An adapter and what keeps it; None where nothing does."""

    version: AdapterVersion
    why: str | None


def prune(
    store: AdapterStore,
    database: Database[dict[str, Any]],
    events: Iterable[str],
    keep: int,
    *,
    dry_run: bool = False,
) -> list[Kept]:
    """Delete the adapters that nothing needs, and what crashes left behind in the store.

    Kept are the promoted adapter, the one that a rollback would go to, the `keep` newest of each event, and all whose
    flags wait for an answer or whose flags people answered.

    Args:
        dry_run: only say what would be deleted.
    """
    heard = {
        *database[EVENT_SCANS].distinct("adapter", {"flagged": True}),
        *database[EVENT_REVIEWS].distinct("adapter"),
    }
    kept = [one for event in events for one in _reasons(store, event, heard, keep)]
    if not dry_run:
        for one in kept:
            if one.why is None:
                store.remove(one.version)
        store.clean_up()
    return kept


def _reasons(store: AdapterStore, event: str, heard: set[Any], keep: int) -> Iterable[Kept]:
    versions, promoted, before = store.versions(event), store.promoted(event), store.before(event)
    for version in versions:
        why = None
        if version == promoted:
            why = "promoted"
        elif version == before:
            why = "a rollback goes back to it"
        elif version in versions[-keep:]:
            why = f"one of the {keep} newest"
        elif str(version) in heard:
            why = "people see or have answered its flags"
        yield Kept(version, why)
