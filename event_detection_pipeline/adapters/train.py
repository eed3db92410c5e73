"""Training: LoRA on Whisper with the Hugging Face Trainer, early-stopped on the validation clips."""

import contextlib
import json
import logging
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback, TrainingArguments, set_seed

from event_detection_pipeline.adapters.batch_size import OutOfMemory
from event_detection_pipeline.adapters.batches import BucketBatchSampler
from event_detection_pipeline.adapters.checkpoints import newest_checkpoint
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.distributed import ALONE, Processes
from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.marker import Marker
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.tensorboard import tensorboard_callbacks
from event_detection_pipeline.adapters.trainer import DetectionTrainer, Material, Watch
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline.errors import PipelineError

logger = logging.getLogger(__name__)

# The two last checkpoints and the best: while one is being written, there is always a whole one to go on from.
KEPT_CHECKPOINTS = 3

# What of a training does not go in halves.
BETWEEN_STEPS = "outside of the training steps (in the frozen layers' states, the optimizer or a checkpoint)"


class NothingToLearn(PipelineError):
    """The training split lacks events or lacks clips without the event."""


@dataclass(frozen=True, slots=True)
class LossPoint:
    """A logged moment of training: training loss since the last one, or what validation gave then."""

    step: int
    loss: float | None
    validation_loss: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    """A trained model in memory with the history of how it got there; `seconds` since it was last begun or resumed."""

    model: PeftModel
    history: tuple[LossPoint, ...]
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a training keeps what outlives it: checkpoints of this training alone (they are resumed), encoder states of
    all trainings, and TensorBoard's event files if they are wanted. Processes that share a training share the folders.
    """

    checkpoints: Path
    states: Path
    tensorboard: Path | None = None
    processes: Processes = ALONE


def train_adapter(
    whisper: Whisper,
    marker: Marker,
    training: Sequence[Example],
    validation: Sequence[Example],
    *,
    lora: LoraSettings,
    settings: TrainingSettings,
    workplace: Workplace | None = None,
) -> TrainedAdapter:
    """Train a LoRA adapter on the examples and return the state with the lowest loss on the validation clips.

    With the same arguments and seed the result is the same: on a CPU bit for bit, also when the training was killed in
    between and called again with the same workplace. Joined processes, all of which call this, end with the adapter
    that one would end with, but for rounding and dropout.

    Args:
        workplace: None keeps nothing.

    Raises:
        NothingToLearn: the training split has no event, or nothing but events.
        TrainingDiverged: a loss or the gradients became NaN or infinite; the last checkpoint before it stays in the
            workplace.
        OutOfMemory: a single clip does not fit the CUDA card, or what else a training needs does not.
    """
    events = sum(example.contains_event for example in training)
    if not 0 < events < len(training):
        raise NothingToLearn(
            f"the training split has {events} clips with the event and {len(training) - events} without; it needs "
            "both. Review more flags: accept right ones, reject wrong ones"
        )
    with contextlib.ExitStack() as stack:
        if workplace is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="training-")))
            workplace = Workplace(folder / "checkpoints", folder / "states")
        return _train(whisper, marker, tuple(training), tuple(validation), lora, settings, workplace)


def _train(
    whisper: Whisper,
    marker: Marker,
    training: tuple[Example, ...],
    validation: tuple[Example, ...],
    lora: LoraSettings,
    settings: TrainingSettings,
    workplace: Workplace,
) -> TrainedAdapter:
    set_seed(settings.seed)
    started = time.monotonic()
    processes = workplace.processes
    encoder = whisper.model.trimmed_encoder
    first_layer = first_adapted_layer(lora, len(encoder.layers))
    model = get_peft_model(whisper.model, lora_config(lora, first_layer))
    states = None
    if first_layer:
        needed = (*training, *validation)
        states = StateCache(whisper, first_layer, workplace.states, settings.state_cache_bytes, needed, processes)
    sampler = BucketBatchSampler(
        [one.bucket for one in training],
        batch_size=settings.batch_size,
        seed=settings.seed,
        processes=processes,
    )
    checkpoint = processes.agree(newest_checkpoint(workplace.checkpoints) if processes.is_first else None)
    stopped = _stopped_at(checkpoint) if checkpoint else None
    arguments = _arguments(
        workplace, settings, stopped or settings.epochs, len(sampler), bool(validation), whisper.compute
    )
    with encoder.beginning_at(first_layer or None):
        trainer = DetectionTrainer(
            Material(whisper, marker, training, validation, states, settings.marker_weight),
            sampler,
            processes=processes,
            model=model,
            args=arguments,
            eval_dataset=list(validation),
            callbacks=[Watch(processes), *_early_stopping(settings, validation)],
        )
        for callback in tensorboard_callbacks(workplace.tensorboard) if workplace.tensorboard else []:
            trainer.add_callback(callback)
        trainer.remove_callback(PrinterCallback)  # Watch tells what a person wants to know
        if checkpoint:
            logger.info("going on from %s", checkpoint)
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(BETWEEN_STEPS) from error
    model.eval()
    history = tuple(
        LossPoint(int(entry["step"]), entry.get("loss"), entry.get("eval_loss"), entry.get("eval_average_precision"))
        for entry in trainer.state.log_history
        if "loss" in entry or "eval_loss" in entry
    )
    return TrainedAdapter(model, history, trainer.state.global_step, time.monotonic() - started)


def first_adapted_layer(lora: LoraSettings, layers: int) -> int:
    """The lowest encoder layer that an adapter changes; everything below runs once for a whole training.

    The upper half if not configured: what tells sounds apart is in the middle of the encoder already, and half of the
    work is saved (docs/decisions.md).
    """
    if lora.part == "decoder":
        return layers
    wanted = layers // 2 if lora.adapt_from_layer is None else lora.adapt_from_layer
    return min(wanted, layers - 1)


def lora_config(lora: LoraSettings, first_layer: int) -> LoraConfig:
    """PEFT's configuration. `task_type` stays None: each of PEFT's task types renames inputs that Whisper needs."""
    part = {"encoder": "encoder", "decoder": "decoder", "both": "(encoder|decoder)"}[lora.part]
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=rf".*\.{part}\.layers\.\d+\.(\w+\.)?({'|'.join(lora.target_modules)})",
        exclude_modules=rf".*\.encoder\.layers\.({'|'.join(map(str, range(first_layer)))})\..*"
        if first_layer
        else None,
    )


def _early_stopping(settings: TrainingSettings, validation: Sequence[Example]) -> list[TrainerCallback]:
    return [EarlyStoppingCallback(early_stopping_patience=settings.patience_epochs)] if validation else []


def _stopped_at(checkpoint: Path) -> int | None:
    """The epoch after which early stopping ended a training that was killed before it returned; None if it did not.

    The Trainer forgets on resuming that it had stopped; with so many epochs in all there are none left to go through.
    """
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    stopped = state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]
    return round(state["epoch"]) if stopped else None


def _arguments(
    workplace: Workplace,
    settings: TrainingSettings,
    epochs: int,
    steps_an_epoch: int,
    evaluate: bool,
    compute: Compute,
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(workplace.checkpoints),
        use_cpu=compute.device.type == "cpu",
        num_train_epochs=epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=math.ceil(settings.warmup_fraction * steps_an_epoch * epochs),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed + workplace.processes.rank,  # each drops out others
        eval_strategy="epoch" if evaluate else "no",
        save_strategy="epoch",
        save_total_limit=KEPT_CHECKPOINTS,
        load_best_model_at_end=evaluate,
        metric_for_best_model="loss" if evaluate else None,
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,  # how long early stopping has been patient
        logging_strategy="epoch",
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
