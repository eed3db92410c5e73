"""The line-up: which adapters a scan hears with, and which of them only hear along."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from event_detection_pipeline.adapters.release import read_detection
from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.config import EventSettings
from event_detection_pipeline.errors import PipelineError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LineUp:
    """Folders of adapters; `shadow` are the names of those among them that are not promoted."""

    store: AdapterStore
    promoted: tuple[AdapterVersion, ...]
    folders: tuple[Path, ...]
    shadow: frozenset[str] = frozenset()

    def overtaken(self) -> bool:
        """Whether another adapter has been promoted for one of the events since: a newer one, or after a rollback an
        older one. A store that does not answer has said nothing."""
        try:
            return any(self.store.promoted(version.event) != version for version in self.promoted)
        except (PipelineError, OSError) as error:
            logger.warning("whether other adapters are promoted now could not be read: %s", error)
            return False


def line_up(store: AdapterStore, events: Iterable[EventSettings], *, shadow: bool) -> LineUp:
    """The promoted adapters of these events, and with `shadow` each one's newest where it is newer than the promoted.
    A candidate that is damaged is left out: nobody sees what it hears.

    Raises:
        NoSuchAdapter: nothing is promoted for any of them.
    """
    events = list(events)
    promoted = store.promoted_folders(events)
    current = tuple(AdapterVersion.parse(folder.name) for folder in promoted)
    candidates = []
    # An event without a promoted adapter is not scanned for: there is nothing to compare a candidate with.
    for version in current if shadow else ():
        newest = store.newest(version.event)
        if newest > version and (folder := _sound(store, newest)):
            candidates.append(folder)
    return LineUp(store, current, (*promoted, *candidates), frozenset(folder.name for folder in candidates))


def _sound(store: AdapterStore, candidate: AdapterVersion) -> Path | None:
    """The folder of a candidate that is as it was sealed."""
    try:
        folder = store.path(candidate)
        read_detection(folder)
    except PipelineError as error:
        logger.warning("the candidate %s does not hear along: %s", candidate, error)
        return None
    return folder
