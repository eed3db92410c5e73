"""The catalogue: each adapter of the store with its figures and what became of it, in one row."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from event_detection_pipeline.adapters.estimate import UNKNOWN, Estimate
from event_detection_pipeline.adapters.promotion import State, decide_on, verdict_on
from event_detection_pipeline.adapters.release import METRICS_FILE, read_json
from event_detection_pipeline.adapters.seal import BrokenAdapter
from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion, Approval, open_store
from event_detection_pipeline.config import EventSettings, Settings

logger = logging.getLogger(__name__)

_FIGURES = ("average_precision", "recall", "false_alarm_rate")


@dataclass(frozen=True, slots=True)
class Entry:
    """One adapter. Figures are those of the test split it was trained with: other adapters may have had another."""

    name: str
    event: str
    promoted: bool
    state: State
    average_precision: Estimate
    recall: Estimate
    false_alarm_rate: Estimate
    verdict: str
    approval: Approval | None


def catalogue(settings: Settings, events: Iterable[EventSettings]) -> list[Entry]:
    """All adapters of these events, oldest first. One whose figures cannot be read is listed without them."""
    store = open_store(settings)
    return [_entry(store, settings, version) for event in events for version in store.versions(event.name)]


def _entry(store: AdapterStore, settings: Settings, version: AdapterVersion) -> Entry:
    decision = decide_on(store, settings, version)
    verdict = verdict_on(settings, version)
    return Entry(
        name=str(version),
        event=version.event,
        promoted=decision.state == "promoted",
        state=decision.state,
        verdict=verdict.reason if verdict else "not evaluated",
        approval=store.approval(version),
        **_figures(store, version),
    )


def _figures(store: AdapterStore, version: AdapterVersion) -> dict[str, Estimate]:
    try:
        test = read_json(store.path(version) / METRICS_FILE)["test"]
        return {name: Estimate(**test[name]) for name in _FIGURES}
    except (BrokenAdapter, KeyError, TypeError) as error:
        logger.warning("the figures of %s cannot be read: %s", version, error)
        return dict.fromkeys(_FIGURES, UNKNOWN)
