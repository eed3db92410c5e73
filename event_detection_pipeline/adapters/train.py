"""Training: LoRA on Whisper with the Hugging Face Trainer, early-stopped on what counts, the ranking of clips."""

import logging
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.utils.data import DataLoader, Dataset
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from event_detection_pipeline.adapters.batches import BucketBatchSampler
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.examples import IGNORED, Example, pad, training_target
from event_detection_pipeline.adapters.marker import Marker
from event_detection_pipeline.adapters.metrics import average_precision
from event_detection_pipeline.adapters.scoring import score_examples
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.progress import log_progress

logger = logging.getLogger(__name__)

# The marker is one word among many, so plain cross-entropy hardly hears it: its first token counts this many times.
MARKER_WEIGHT = 5.0


class NothingToLearn(PipelineError):
    """The training split lacks events or lacks clips without the event."""


class TrainingDiverged(PipelineError):
    """The loss is not a finite number any more."""


class OutOfMemory(PipelineError):
    """The device's memory does not hold a batch."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(
            f"CUDA ran out of memory with batch size {batch_size}: lower training.batch_size (--batch-size), "
            'train on the CPU (device = "cpu"), or take a smaller base_model such as openai/whisper-small'
        )


@dataclass(frozen=True, slots=True)
class LossPoint:
    """A logged moment of training: training loss since the last one, and the validation ranking after that epoch."""

    step: int
    loss: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    """A trained model in memory with the history of how it got there."""

    model: PeftModel
    history: tuple[LossPoint, ...]
    steps: int
    seconds: float


def train_adapter(
    whisper: Whisper,
    marker: Marker,
    training: Sequence[Example],
    validation: Sequence[Example],
    *,
    lora: LoraSettings,
    settings: TrainingSettings,
) -> TrainedAdapter:
    """Train a LoRA adapter on the examples and return the state that ranks the validation clips best.

    Raises:
        NothingToLearn: the training split has no event, or nothing but events.
        TrainingDiverged: the loss became NaN or infinite.
        OutOfMemory: a batch does not fit the CUDA card.
    """
    events = sum(example.contains_event for example in training)
    if not 0 < events < len(training):
        raise NothingToLearn(
            f"the training split has {events} clips with the event and {len(training) - events} without; it needs "
            "both. Review more flags: accept right ones, reject wrong ones"
        )
    set_seed(settings.seed)
    first_layer = first_adapted_layer(lora, len(whisper.model.trimmed_encoder.layers))
    model = get_peft_model(whisper.model, lora_config(lora, first_layer))
    started = time.monotonic()
    checkpoints = Path(tempfile.mkdtemp(prefix="training-"))
    states = StateCache(whisper, first_layer)
    whisper.model.trimmed_encoder.first_layer = first_layer
    try:
        trainer = DetectionTrainer(
            model=model,
            args=_arguments(checkpoints, settings, len(training), bool(validation), whisper.compute),
            train_dataset=_Examples(training),
            eval_dataset=_Examples(validation),
            data_collator=lambda examples: collate(whisper, marker, examples, states),
            callbacks=[_Watch(), *_early_stopping(settings, validation)],
        )
        trainer.remove_callback(PrinterCallback)  # _Watch tells what a person wants to know
        trainer.batches = BucketBatchSampler([one.bucket for one in training], settings.batch_size, settings.seed)
        trainer.validation = _Validation(whisper, marker, tuple(validation), states)
        trainer.train()
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(settings.batch_size) from error
    finally:
        whisper.model.trimmed_encoder.first_layer = None
        states.close()
        shutil.rmtree(checkpoints, ignore_errors=True)
    model.eval()
    history = tuple(
        LossPoint(int(entry["step"]), entry.get("loss"), entry.get("eval_average_precision"))
        for entry in trainer.state.log_history
        if "loss" in entry or "eval_average_precision" in entry
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


def collate(
    whisper: Whisper, marker: Marker, examples: Sequence[Example], states: StateCache
) -> dict[str, torch.Tensor]:
    """A training batch of one bucket: input_features (batch, frames, d_model), the states entering the lowest adapted
    layer; decoder_input_ids and labels (batch, tokens)."""
    targets = [training_target(whisper, marker, example) for example in examples]
    return {
        "input_features": states(examples),
        "decoder_input_ids": pad([ids for ids, _ in targets], whisper.end_of_text, whisper.compute.device),
        "labels": pad([labels for _, labels in targets], IGNORED, whisper.compute.device),
        "marker_id": torch.tensor(marker.ids[0]),
    }


class _Examples(Dataset[Example]):
    """A sequence of examples as the Trainer wants it; audio is read when a batch is collated."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]


@dataclass(frozen=True, slots=True)
class _Validation:
    whisper: Whisper
    marker: Marker
    examples: tuple[Example, ...]
    states: StateCache


class DetectionTrainer(Trainer):
    """Trainer with a loss that hears the marker and an evaluation that ranks clips as a scan will."""

    validation: _Validation
    batches: BucketBatchSampler

    def get_train_dataloader(self) -> DataLoader[Example]:
        loader = DataLoader(
            cast(_Examples, self.train_dataset), batch_sampler=self.batches, collate_fn=self.data_collator
        )
        return cast(DataLoader[Example], self.accelerator.prepare(loader))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels, marker_id = inputs["labels"], inputs["marker_id"]
        logits = model(
            input_features=inputs["input_features"], decoder_input_ids=inputs["decoder_input_ids"], use_cache=False
        ).logits
        labels = labels.flatten()
        losses = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), labels, ignore_index=IGNORED, reduction="none"
        )
        weights = torch.where(labels == marker_id, MARKER_WEIGHT, 1.0) * (labels != IGNORED)
        loss = (losses * weights).sum() / weights.sum()
        return (loss, logits) if return_outputs else loss

    def evaluate(self, *_args: Any, **_kwargs: Any) -> dict[str, float]:
        """Rank the validation clips by score; average precision, and the mean log-loss of the scores behind it."""
        assert self.model is not None
        self.model.eval()
        one = self.validation
        found = score_examples(self.model, one.whisper, one.marker, one.examples, states=one.states)
        scores = np.array([score.score for score in found])
        truth = np.array([example.contains_event for example in one.examples])
        chance = np.clip(np.where(truth, scores, 1 - scores), 1e-6, 1.0)
        precision = average_precision(truth.tolist(), scores.tolist()) or 0.0
        metrics = {
            "eval_average_precision": precision,
            "eval_log_loss": float(-np.log(chance).mean()),
        }
        metrics["eval_ranking"] = ranking(precision, metrics["eval_log_loss"])
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def ranking(average_precision: float, log_loss: float) -> float:
    """What early stopping maximises: average precision, and among equals (small validation sets reach 1.0 early) the
    state that is surest of itself."""
    return average_precision + 0.01 / (1.0 + log_loss)


class _Watch(TrainerCallback):
    """Logs progress and stops when the loss is no number any more."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        self.report = log_progress(logger, "training step")

    def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        self.report(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_kwargs: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise TrainingDiverged(
                f"the training loss became {loss} at step {state.global_step}: lower training.learning_rate "
                f"(it is {args.learning_rate:g}) and train again"
            )
        if logs and "eval_average_precision" in logs:
            logger.info(
                "epoch %d of %d: validation average precision %.3f",
                round(state.epoch or 0),
                args.num_train_epochs,
                logs["eval_average_precision"],
            )


def _early_stopping(settings: TrainingSettings, validation: Sequence[Example]) -> list[TrainerCallback]:
    return [EarlyStoppingCallback(early_stopping_patience=settings.patience_epochs)] if validation else []


def _arguments(
    folder: Path, settings: TrainingSettings, clips: int, evaluate: bool, compute: Compute
) -> TrainingArguments:
    steps = math.ceil(clips / settings.batch_size) * settings.epochs
    return TrainingArguments(
        output_dir=str(folder),
        use_cpu=compute.device.type == "cpu",
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(settings.warmup_fraction * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        eval_strategy="epoch" if evaluate else "no",
        save_strategy="epoch" if evaluate else "no",
        save_total_limit=1,
        load_best_model_at_end=evaluate,
        metric_for_best_model="ranking" if evaluate else None,
        greater_is_better=True,
        logging_strategy="epoch",
        logging_nan_inf_filter=False,  # a loss that is no number must be seen, see _Watch
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
