"""The line-up: which adapters a scan hears with, and which of them only hear along."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.config import EventSettings


@dataclass(frozen=True, slots=True)
class LineUp:
    """Folders of adapters; `shadow` are the names of those among them that are not promoted."""

    folders: tuple[Path, ...]
    shadow: frozenset[str] = frozenset()


def line_up(store: AdapterStore, events: Iterable[EventSettings], *, shadow: bool) -> LineUp:
    """The promoted adapters of these events, and with `shadow` each one's newest where it is newer than the promoted.

    Raises:
        NoSuchAdapter: nothing is promoted for any of them.
    """
    events = list(events)
    promoted = store.promoted_folders(events)
    candidates = []
    for event in events if shadow else []:
        current, versions = store.promoted(event.name), store.versions(event.name)
        # An event without a promoted adapter is not scanned for: there is nothing to compare a candidate with.
        if current and versions[-1] > current:
            candidates.append(store.path(versions[-1]))
    return LineUp((*promoted, *candidates), frozenset(folder.name for folder in candidates))
