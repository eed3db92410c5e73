"""A candidate: from a manifest to an adapter's complete folder, with its threshold, figures and card."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from event_detection_pipeline.adapters.card import model_card
from event_detection_pipeline.adapters.checkpoints import checkpoint_folder, hold, training_key
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.distributed import ALONE, Processes
from event_detection_pipeline.adapters.evaluation_set import usable
from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.marker import marker_of
from event_detection_pipeline.adapters.metrics import Metrics, measure_examples
from event_detection_pipeline.adapters.probe import PROBE_FILE, joined, pooled_states, save_probe, train_probe
from event_detection_pipeline.adapters.provenance import write_conversations
from event_detection_pipeline.adapters.release import (
    DETECTION_FILE,
    METRICS_FILE,
    Detection,
    read_json,
    save_adapter,
    write_json,
)
from event_detection_pipeline.adapters.revision import base_revision
from event_detection_pipeline.adapters.scoring import score_examples
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.threshold import choose_threshold, operating_curve
from event_detection_pipeline.adapters.train import (
    LossPoint,
    TrainedAdapter,
    Workplace,
    first_adapted_layer,
    train_adapter,
)
from event_detection_pipeline.adapters.whisper import Whisper, load_whisper
from event_detection_pipeline.clips.manifest import Clip, read_with_digest
from event_detection_pipeline.clips.splits import Split
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.files import write_atomically

logger = logging.getLogger(__name__)


class NoUsableClips(PipelineError):
    """Not one line of the manifest has audio that can be read."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What training gave, and on what. `probe` is the linear probe on the test split, for comparison."""

    folder: Path
    detection: Detection
    validation: Metrics
    test: Metrics
    probe: Metrics
    history: tuple[LossPoint, ...]
    steps: int
    seconds: float
    clips: dict[Split, int]
    unusable: int
    device: str


@dataclass(frozen=True, slots=True)
class _Training:
    """What a training is given; `manifest_sha256` and `revision` are those of what was read and loaded at its start."""

    event: EventSettings
    clips: Sequence[Clip]
    manifest_sha256: str
    splits: dict[Split, list[Example]]
    whisper: Whisper
    revision: str
    device: str


def train_candidate(
    manifest: Path,
    folder: Path,
    event: EventSettings,
    settings: Settings,
    compute: Compute,
    processes: Processes = ALONE,
) -> Candidate:
    """Train an adapter on a manifest and fill `folder` (which exists) with it. Called again after it was killed, it
    goes on from its last checkpoint.

    What the manifest, its audio and the base model are at the start counts; an export may run meanwhile.

    Args:
        processes: that train together; the first calls this, the others `share_training`.

    Raises:
        BrokenManifest, NoUsableClips, BaseModelUnavailable, UnknownLanguage, NothingToLearn, TrainingDiverged,
        OutOfMemory, AlreadyTraining.
    """
    clips, digest = read_with_digest(manifest, source_tag=event.source_tag)
    found, _ = load_examples(clips, event)
    whisper = load_whisper(settings.base_model, compute, settings.language)
    revision = base_revision(whisper)
    # Not by how many processes: what two cards began, one may end.
    key = training_key(
        digest, settings.base_model, revision, settings.language, event, settings.lora, settings.training, compute
    )
    with checkpoint_folder(settings.checkpoint_dir, key) as checkpoints:
        splits: dict[Split, list[Example]] = {name: _held(one, checkpoints) for name, one in found.items()}
        logger.info(
            "training on %d clips, validating on %d, testing on %d (%d without usable audio left out)",
            *(len(splits[name]) for name in ("train", "validation", "test")),
            len(clips) - sum(map(len, splits.values())),
        )
        tensorboard = settings.tensorboard_dir / f"{event.name}-{key}" if settings.training.tensorboard else None
        workplace = Workplace(checkpoints, settings.state_cache_dir, tensorboard, processes)
        with processes.joined(compute.device):
            processes.agree((splits, checkpoints))
            trained = _train(whisper, splits, event, settings, workplace)
        device = compute.name if processes.count == 1 else f"{processes.count} processes, each on {compute.name}"
        training = _Training(event, clips, digest, splits, whisper, revision, device)
        return _complete(training, trained, folder, settings)


def share_training(event: EventSettings, settings: Settings, compute: Compute, processes: Processes) -> None:
    """Do this process's share of a `train_candidate` that the first one called. Ends with the training, and leaves
    nothing but encoder states. Raises what `train_candidate` does."""
    with processes.joined(compute.device):
        nothing_yet: tuple[dict[Split, list[Example]], Path] = ({}, Path())
        splits, checkpoints = processes.agree(nothing_yet)  # once the first has fetched the base model
        whisper = load_whisper(settings.base_model, compute, settings.language)
        _train(whisper, splits, event, settings, Workplace(checkpoints, settings.state_cache_dir, processes=processes))


def _held(examples: Sequence[Example], checkpoints: Path) -> list[Example]:
    """The examples with audio that stays until the training has ended; what an export has just removed is left out."""
    held = []
    for example in examples:
        try:
            held.append(replace(example, audio=hold(example.audio, checkpoints)))
        except FileNotFoundError as error:
            logger.warning("left out: %s", error)
    return held


def _train(
    whisper: Whisper,
    splits: dict[Split, list[Example]],
    event: EventSettings,
    settings: Settings,
    workplace: Workplace,
) -> TrainedAdapter:
    return train_adapter(
        whisper,
        marker_of(whisper.tokenizer, event.target_token),
        splits["train"],
        splits["validation"],
        lora=settings.lora,
        settings=settings.training,
        workplace=workplace,
    )


def _complete(training: _Training, trained: TrainedAdapter, folder: Path, settings: Settings) -> Candidate:
    """Probe, threshold and figures, and all of it into the folder."""
    event, splits, whisper = training.event, training.splits, training.whisper
    marker = marker_of(whisper.tokenizer, event.target_token)
    encoder = whisper.model.trimmed_encoder
    first_layer = first_adapted_layer(settings.lora, len(encoder.layers))
    room = settings.training.state_cache_bytes
    needed = [example for examples in splits.values() for example in examples]
    states = StateCache(whisper, first_layer, settings.state_cache_dir, room, needed) if first_layer else None
    # What lies below the adapter runs anyway; where nothing does, the whole encoder runs once more for the probe.
    depth = first_layer or len(encoder.layers)
    with trained.model.disable_adapter():
        pooled: dict[Split, list[np.ndarray]] = {
            name: pooled_states(whisper, examples, depth, states) for name, examples in splits.items()
        }
    probe = train_probe(pooled, splits, depth, settings.evaluation)
    known = {name: probe.scores(clips) for name, clips in pooled.items()}

    def scores(split: Split) -> list[float]:
        with encoder.beginning_at(first_layer or None):
            found = score_examples(trained.model, whisper, marker, splits[split], states=states)
        return joined([one.score for one in found], known[split])

    validation_scores = scores("validation")
    validation_truth = [example.contains_event for example in splits["validation"]]
    threshold = choose_threshold(validation_truth, validation_scores, settings.evaluation)
    detection = Detection(
        event=event.name,
        source_tag=event.source_tag,
        target_token=event.target_token,
        base_model=settings.base_model,
        base_model_revision=training.revision,
        threshold=threshold.value,
        threshold_rule=threshold.rule,
        operating_curve=operating_curve(validation_truth, validation_scores),
        manifest_sha256=training.manifest_sha256,
        prompt=tuple(whisper.prompt),
        language=settings.language,
        scorer="adapter and probe",
    )
    confidence = settings.evaluation.confidence
    candidate = Candidate(
        folder=folder,
        detection=detection,
        validation=measure_examples(splits["validation"], validation_scores, threshold.value, confidence),
        test=measure_examples(splits["test"], scores("test"), threshold.value, confidence),
        probe=measure_examples(splits["test"], known["test"], probe.threshold, confidence),
        history=trained.history,
        steps=trained.steps,
        seconds=trained.seconds,
        clips={name: len(examples) for name, examples in splits.items()},
        unusable=len(training.clips) - len(needed),
        device=training.device,
    )
    save_adapter(folder, trained.model, whisper, detection)
    save_probe(folder / PROBE_FILE, probe)
    write_conversations(folder, training.clips)
    _write_figures(candidate, settings, first_layer)
    return candidate


def read_candidate(folder: Path) -> Candidate:
    """What `train_candidate` returned in the process that filled the folder, which need not be sealed yet.

    Raises:
        BrokenAdapter: it was not filled.
    """
    figures = read_json(folder / METRICS_FILE)
    detection = read_json(folder / DETECTION_FILE)
    return TypeAdapter(Candidate).validate_python({**figures, "folder": folder, "detection": detection})


def _write_figures(candidate: Candidate, settings: Settings, first_layer: int) -> None:
    figures = asdict(candidate)
    del figures["folder"], figures["detection"]
    write_json(candidate.folder / METRICS_FILE, figures)
    write_atomically(candidate.folder / "README.md", model_card(candidate, settings, first_layer).encode())


def load_examples(clips: Sequence[Clip], event: EventSettings) -> tuple[dict[Split, list[Example]], int]:
    """The examples of each split, and how many lines had no usable audio (each logged).

    Raises:
        NoUsableClips: none had.
    """
    found = usable(clips, event)
    if not found.examples:
        raise NoUsableClips(
            f"none of the {len(clips)} lines of the manifest has readable audio; run `event-detection export`, which "
            "writes the audio that the manifest names"
        )
    splits: dict[Split, list[Example]] = {"train": [], "validation": [], "test": []}
    for clip, example in zip(found.clips, found.examples, strict=True):
        splits[clip.split].append(example)
    return splits, len(clips) - len(found.examples)
