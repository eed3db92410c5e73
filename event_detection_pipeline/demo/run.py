"""The demo: the whole loop on a small household, with a real database, the real jobs and a real model."""

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.adapters.release import DETECTION_FILE, METRICS_FILE, read_json, write_json
from event_detection_pipeline.adapters.store import open_store
from event_detection_pipeline.chronicle.database import EVENT_SCANS, connect
from event_detection_pipeline.clips.export import manifest_path, rejects_path
from event_detection_pipeline.clips.manifest import manifest_digest, read_manifest
from event_detection_pipeline.config import Settings, load_settings
from event_detection_pipeline.demo.base_model import ensure_base_model
from event_detection_pipeline.demo.household import GroundTruth, fill
from event_detection_pipeline.demo.server import demo_environment
from event_detection_pipeline.progress import seconds

logger = logging.getLogger(__name__)

STAGES = 5
SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The flags of the scan against the truth that was kept aside."""

    scanned: int
    true_positives: int
    false_positives: int
    events: int

    @property
    def recall(self) -> float:
        return self.true_positives / self.events if self.events else 0.0

    @property
    def false_alarm_rate(self) -> float:
        others = self.scanned - self.events
        return self.false_positives / others if others else 0.0


def run(folder: Path) -> None:
    """Fill the household, run the jobs and write `summary.json`. What is there already is used, not made again.

    Raises:
        PipelineError: a job failed or a package of the demo extra is missing.
    """
    logging.getLogger("alembic").setLevel(logging.ERROR)
    started = time.monotonic()
    with demo_environment(folder) as uri:
        settings = load_settings()
        _stage(1, "the base model: OpenAI's Whisper tiny.en, converted from a package")
        ensure_base_model(Path(settings.base_model))
        _stage(2, "a household: conversations with speech and sounds, some with a door chime, as Chronicle stores them")
        database = connect(uri, settings.database_name)
        truth = fill(database)
        truth.save(folder / "ground_truth.json")
        _run_jobs(settings)
        _report(folder, settings, database, truth, time.monotonic() - started)


def _run_jobs(settings: Settings) -> None:
    # Definitions read the settings when they are imported: only now does the environment point at the demo.
    from event_detection_pipeline.defs.launch import JobFailed, run_job

    _stage(3, "job export_training_data: the reviewed conversations become clips and a manifest")
    run_job("export_training_data")
    _stage(4, "job retrain_adapter: the manifest becomes an adapter, which is evaluated and promoted")
    promoted = open_store(settings).promoted(settings.events[0].name)
    if promoted and _trained_on(settings, str(promoted)) == manifest_digest(
        manifest_path(settings, settings.events[0])
    ):
        logger.info("%s was trained on this very manifest: nothing to learn", promoted)
    else:
        try:
            run_job("retrain_adapter")
        except JobFailed as error:
            if promoted is None:
                raise
            logger.info("%s stays: %s", promoted, error)
    _stage(5, "job scan_conversations: the adapter listens to what nobody has reviewed")
    run_job("scan_conversations")


def _trained_on(settings: Settings, adapter: str) -> str:
    return read_json(settings.adapter_dir / adapter / DETECTION_FILE)["manifest_sha256"]


def compare_with_truth(scans: Mapping[str, bool], truth: GroundTruth) -> Outcome:
    """Judge flags by conversation id."""
    with_event = {id_ for id_ in scans if truth.conversations[id_]["event"]}
    flagged = {id_ for id_, flag in scans.items() if flag}
    return Outcome(len(scans), len(flagged & with_event), len(flagged - with_event), len(with_event))


def _report(
    folder: Path, settings: Settings, database: Database[dict[str, Any]], truth: GroundTruth, duration: float
) -> None:
    event = settings.events[0]
    version = open_store(settings).promoted(event.name)
    metrics = read_json(settings.adapter_dir / str(version) / METRICS_FILE)["test"]
    clips = len(read_manifest(manifest_path(settings, event)))
    set_aside = len(rejects_path(settings, event).read_text().splitlines())
    scans = {scan["conversation_id"]: scan["flagged"] for scan in database[EVENT_SCANS].find({"event": event.name})}
    outcome = compare_with_truth(scans, truth)
    flagged = outcome.true_positives + outcome.false_positives
    precision = metrics["average_precision"]["value"]
    write_json(
        folder / SUMMARY,
        {
            "seconds": round(duration, 1),
            "clips": {"kept": clips, "set_aside": set_aside},
            "adapter": {"version": str(version), "metrics": metrics},
            "scan": {
                "scanned": outcome.scanned,
                "flagged": flagged,
                "true_positives": outcome.true_positives,
                "false_positives": outcome.false_positives,
                "recall": round(outcome.recall, 4),
                "false_alarm_rate": round(outcome.false_alarm_rate, 4),
            },
        },
    )
    sys.stdout.write(
        f"""
What happened, in {seconds(duration)}
  clips     {clips} kept, {set_aside} set aside with a reason ({rejects_path(settings, event)})
  adapter   {version} promoted; average precision {precision:.2f} on {metrics["clips"]} test clips it had not heard
  scan      {outcome.scanned} conversations nobody had reviewed, {flagged} flagged
            {outcome.true_positives} of {outcome.events} with a chime found, {outcome.false_positives} false alarms
            recall {outcome.recall:.2f}, false-alarm rate {outcome.false_alarm_rate:.2f}
  summary   {folder / SUMMARY}

Next
  make ui   the Dagster UI on the same data: http://127.0.0.1:3000
  Your own Chronicle: export MONGODB_URI=mongodb://localhost:27017 and describe your event in event_detection.toml,
  then `make ui` (README.md, "Your own Chronicle")
"""
    )


def _stage(number: int, text: str) -> None:
    logger.info("\n[%d/%d] %s", number, STAGES, text)
