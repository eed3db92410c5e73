"""The catalogue: each adapter of the store with its figures and its evaluation, in one row."""

from collections.abc import Iterable
from dataclasses import dataclass

from event_detection_pipeline.adapters.estimate import Estimate
from event_detection_pipeline.adapters.release import METRICS_FILE, read_json
from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.adapters.verdict import evaluation_path, read_verdict
from event_detection_pipeline.config import EventSettings, Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """One adapter. Figures are those of the test split it was trained with: other adapters may have had another."""

    name: str
    promoted: bool
    average_precision: Estimate
    recall: Estimate
    false_alarm_rate: Estimate
    verdict: str


def catalogue(settings: Settings, events: Iterable[EventSettings]) -> list[Entry]:
    """All adapters of these events, oldest first.

    Raises:
        BrokenAdapter: one of them cannot be read.
    """
    store = AdapterStore(settings.adapter_dir)
    entries = []
    for event in events:
        promoted = store.promoted(event.name)
        for version in store.versions(event.name):
            test = read_json(store.path(version) / METRICS_FILE)["test"]
            verdict = read_verdict(evaluation_path(settings.evaluation_dir, version))
            entries.append(
                Entry(
                    name=str(version),
                    promoted=version == promoted,
                    average_precision=Estimate(**test["average_precision"]),
                    recall=Estimate(**test["recall"]),
                    false_alarm_rate=Estimate(**test["false_alarm_rate"]),
                    verdict=verdict.reason if verdict else "not evaluated",
                )
            )
    return entries
