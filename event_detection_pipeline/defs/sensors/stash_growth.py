"""Retraining starts when people have given enough samples since the last training, whoever started that one."""

import hashlib
import json
from dataclasses import asdict, dataclass

import dagster as dg
from pymongo.errors import PyMongoError

from event_detection_pipeline.chronicle.database import ChronicleUnavailable, explain
from event_detection_pipeline.chronicle.queries import count_samples, newest_sample
from event_detection_pipeline.config import AutomationSettings, load_settings
from event_detection_pipeline.defs.events import EVENT_NAMES, partition_of
from event_detection_pipeline.defs.jobs import TRAINING_JOBS, full_loop
from event_detection_pipeline.defs.lineage import trained_samples
from event_detection_pipeline.defs.resources import AdapterStoreResource, MongoResource
from event_detection_pipeline.defs.runs import run_in_progress, run_of_key

INTERVAL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Samples:
    """What people gave for an event, as a tick finds it. Ids are in order of time, so a clean-up of older samples
    changes no count of newer ones."""

    total: int
    newest: str
    untrained: int  # newer than all that the last adapter was trained with
    unasked: int  # newer than all there were at the last request


@dataclass(frozen=True, slots=True)
class Asked:
    """The last request for a retraining: the newest sample there was, and which attempt it is (0: none, counting starts
    at `newest`)."""

    newest: str
    attempt: int
    run_key: str = ""


@dataclass(frozen=True, slots=True)
class LastRun:
    """How the run of the last request ended."""

    run_id: str
    canceled: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What a tick leads to: an attempt to retrain, or none; the reason is shown in the UI."""

    attempt: int | None
    reason: str


def decide(
    samples: Samples, asked: Asked | None, last_run: LastRun | None, rules: AutomationSettings, min_samples: int
) -> Decision:
    """Retrain when enough came in since the last training; again after a failure, up to `retrain_attempts` times.

    After the last failed attempt, or when a person cancelled one, only as many new samples again start another.
    """
    wanted = rules.retrain_after_new_samples
    if samples.total < min_samples:
        return Decision(None, f"{samples.total} of the {min_samples} samples that are needed (min_samples)")
    if samples.untrained < wanted:
        return Decision(None, f"{samples.untrained} new samples since the last training, {wanted} start one")
    grown = f"{samples.untrained} new samples since the last training"
    if asked is None or samples.unasked >= wanted:
        return Decision(1, grown)
    run = f"run {last_run.run_id[:8]}" if last_run else "its run"
    again = f"{wanted - samples.unasked} more samples start another, or start full_loop by hand"
    if last_run and last_run.canceled:
        return Decision(None, f"{run} was cancelled; {again}")
    if asked.attempt >= rules.retrain_attempts:
        return Decision(None, f"attempt {asked.attempt} of {rules.retrain_attempts} failed ({run} says why); {again}")
    return Decision(asked.attempt + 1, grown)


def run_key(event: str, samples: Samples, attempt: int) -> str:
    """The key of an attempt: Dagster runs each once, so other samples, or another attempt, are another key."""
    content = hashlib.sha256(f"{samples.total} {samples.newest}".encode()).hexdigest()[:12]
    return f"samples-{event}-{content}-attempt-{attempt}"


@dg.sensor(
    job=full_loop,
    minimum_interval_seconds=INTERVAL_SECONDS,
    description="Runs the whole loop when people have given automation.retrain_after_new_samples samples (stashed or "
    "accepted) since the last training, however that one was started; tries again after a failure "
    "(automation.retrain_attempts).",
)
def stash_growth(
    context: dg.SensorEvaluationContext, mongo: MongoResource, store: AdapterStoreResource
) -> dg.SensorResult | dg.SkipReason:
    settings = load_settings()
    cursor = {event: Asked(**values) for event, values in json.loads(context.cursor or "{}").items()}
    requests, reasons = [], []
    for event in EVENT_NAMES:
        if running := run_in_progress(context.instance, TRAINING_JOBS, "candidate_adapter", event):
            reasons.append(f"run {running.run_id[:8]} is training already")
            continue
        trained, asked = trained_samples(context.instance, event), cursor.get(event)
        try:
            samples = _look(mongo, event, trained, asked)
        except ChronicleUnavailable as error:
            return dg.SkipReason(str(error))
        except PyMongoError as error:
            return dg.SkipReason(explain(error))
        if trained is None and asked is None and store.open().versions(event):
            # Turned on where an adapter exists of which this Dagster knows nothing: all there is was there to train on.
            cursor[event] = Asked(samples.newest, attempt=0)
            reasons.append(f"counting from the {samples.total} samples there are")
            continue
        decision = decide(samples, asked, _last_run(context.instance, asked), settings.automation, settings.min_samples)
        reasons.append(decision.reason)
        if decision.attempt:
            key = run_key(event, samples, decision.attempt)
            cursor[event] = Asked(samples.newest, decision.attempt, key)
            requests.append(dg.RunRequest(run_key=key, partition_key=partition_of(event)))
    # One result: the cursor moves only with its requests.
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else "; ".join(reasons),
        cursor=json.dumps({event: asdict(asked) for event, asked in cursor.items()}),
    )


def _look(mongo: MongoResource, event: str, trained: str | None, asked: Asked | None) -> Samples:
    database = mongo.open()
    since = trained if trained is not None else asked.newest if asked and asked.attempt == 0 else ""
    return Samples(
        total=count_samples(database, event),
        newest=newest_sample(database),
        untrained=count_samples(database, event, after=since),
        unasked=count_samples(database, event, after=asked.newest if asked else ""),
    )


def _last_run(instance: dg.DagsterInstance, asked: Asked | None) -> LastRun | None:
    run = run_of_key(instance, asked.run_key) if asked and asked.run_key else None
    return LastRun(run.run_id, run.status == dg.DagsterRunStatus.CANCELED) if run else None
