"""A scan starts when a new conversation has its transcript, minutes after it was spoken."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import dagster as dg
from pymongo.errors import PyMongoError

from event_detection_pipeline.chronicle.database import ChronicleUnavailable, explain
from event_detection_pipeline.chronicle.queries import arrivals
from event_detection_pipeline.defs.events import EVENT_NAMES
from event_detection_pipeline.defs.jobs import SCANNING_JOBS, scan_conversations
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource
from event_detection_pipeline.defs.runs import run_in_progress
from event_detection_pipeline.defs.schedules import NO_ADAPTER

INTERVAL_SECONDS = 120
MOST_AT_ONCE = 200  # conversations a tick looks at; a scan finds all there are, so more would change nothing


@dataclass(frozen=True, slots=True)
class Seen:
    """What was there at the last request: the newest conversation, and those that had no transcript yet."""

    newest: str = ""
    unfinished: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a tick leads to: a scan, with what is seen then and the run's key, or none."""

    seen: Seen | None
    run_key: str
    reason: str


def decide(found: Sequence[tuple[str, bool]], seen: Seen) -> Decision:
    """Scan when a conversation that was not there, or had no transcript, now has one.

    `found`: new and unfinished conversations, newest first, each with whether it has a transcript.
    """
    ready = [id_ for id_, transcribed in found if transcribed]
    unfinished = [id_ for id_, transcribed in found if not transcribed]
    if not ready:
        return Decision(None, "", f"no new transcript; conversations that wait for theirs: {len(unfinished)}")
    key = hashlib.sha256("\n".join(ready).encode()).hexdigest()[:12]
    newest = max(seen.newest, found[0][0])
    return Decision(Seen(newest, unfinished), f"conversations-{key}", f"{len(ready)} new transcripts")


@dg.sensor(
    job=scan_conversations,
    minimum_interval_seconds=INTERVAL_SECONDS,
    description="Scans as soon as a new conversation has its transcript. hourly_scan remains for what this cannot see: "
    "old conversations that were transcribed anew, and scans that failed.",
)
def new_conversations(
    context: dg.SensorEvaluationContext, mongo: MongoResource, store: AdapterStoreResource
) -> dg.SensorResult | dg.SkipReason:
    if not any(store.open().promoted(event) for event in EVENT_NAMES):
        return dg.SkipReason(NO_ADAPTER)
    if running := run_in_progress(context.instance, SCANNING_JOBS, "anomaly_flags"):
        return dg.SkipReason(f"run {running.run_id[:8]} is scanning already")
    seen = Seen(**json.loads(context.cursor)) if context.cursor else Seen()
    try:
        found = arrivals(mongo.open(), after=seen.newest, also=seen.unfinished, limit=MOST_AT_ONCE)
    except ChronicleUnavailable as error:
        return dg.SkipReason(str(error))
    except PyMongoError as error:
        return dg.SkipReason(explain(error))
    decision = decide(found, seen)
    if decision.seen is None:
        return dg.SkipReason(decision.reason)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=decision.run_key)], cursor=json.dumps(asdict(decision.seen))
    )
