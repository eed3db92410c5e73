"""The catalogue: each adapter of the store with its figures and what became of it, in one row."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from event_detection_pipeline.adapters.estimate import UNKNOWN, Estimate
from event_detection_pipeline.adapters.promotion import Ledger, State, decide_on, verdict_on
from event_detection_pipeline.adapters.release import METRICS_FILE
from event_detection_pipeline.adapters.store import AdapterVersion, Approval, open_store
from event_detection_pipeline.adapters.verdict import BrokenEvaluation
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
    metrics = store.texts(METRICS_FILE)
    entries = []
    for event in events:
        ledger = Ledger.read(store, event.name)
        for version in store.versions(event.name):
            entries.append(_entry(ledger, settings, version, metrics.get(str(version), "")))
    return entries


def _entry(ledger: Ledger, settings: Settings, version: AdapterVersion, metrics: str) -> Entry:
    decision = decide_on(ledger, settings, version)
    return Entry(
        name=str(version),
        event=version.event,
        promoted=decision.state == "promoted",
        state=decision.state,
        verdict=_verdict(settings, version),
        approval=ledger.approvals.get(str(version)),
        **_figures(version, metrics),
    )


def _verdict(settings: Settings, version: AdapterVersion) -> str:
    try:
        verdict = verdict_on(settings, version)
    except BrokenEvaluation as error:
        logger.warning("%s counts as not evaluated: %s", version, error)
        return "not evaluated"
    return verdict.reason if verdict else "not evaluated"


def _figures(version: AdapterVersion, metrics: str) -> dict[str, Estimate]:
    try:
        test = json.loads(metrics)["test"]
        return {name: Estimate(**test[name]) for name in _FIGURES}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        logger.warning("the figures of %s cannot be read: %s", version, error)
        return dict.fromkeys(_FIGURES, UNKNOWN)
