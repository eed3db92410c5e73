"""The Trainer: a loss that hears the marker, in training and on validation, and steps that fit memory."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback

from event_detection_pipeline.adapters.batch_size import BatchSize, OutOfMemory, clips_at_once, in_batches
from event_detection_pipeline.adapters.batches import BucketBatchSampler
from event_detection_pipeline.adapters.checkpoints import seal
from event_detection_pipeline.adapters.distributed import Processes
from event_detection_pipeline.adapters.examples import IGNORED, Example, pad, read_wav, training_target
from event_detection_pipeline.adapters.marker import Marker
from event_detection_pipeline.adapters.metrics import average_precision
from event_detection_pipeline.adapters.scoring import score_examples
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.progress import log_progress

logger = logging.getLogger(__name__)


class TrainingDiverged(PipelineError):
    """A loss, or the gradients' norm, is not a finite number any more."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a training is made of.

    Attributes:
        states: of the frozen layers; None where the lowest layer is adapted and the encoder begins at the features.
        marker_weight: how often the marker's pieces count, and what follows it. It is one word among many, which plain
            cross-entropy would hardly hear; and a word that the decoder never saw, after which it loops or stops.
    """

    whisper: Whisper
    marker: Marker
    training: tuple[Example, ...]
    validation: tuple[Example, ...]
    states: StateCache | None
    marker_weight: float

    def batch(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """A batch of one bucket, for training or validation.

        Args:
            examples: none in a process that has no share of a batch; only labels and weights are there then, (0, 0).

        Returns:
            input_features (batch, mels, frames), or the states (batch, frames / 2, d_model) entering the lowest adapted
            layer; decoder_input_ids and labels (batch, tokens), int64; weights, how much each label counts, float32.
        """
        device = self.whisper.compute.device
        if not examples:
            nothing = torch.empty((0, 0), device=device)
            return {"labels": nothing.long(), "weights": nothing}
        targets = [training_target(self.whisper, self.marker, example) for example in examples]
        if self.states:
            features = self.states(examples)
        else:
            features = self.whisper.features([read_wav(example.audio) for example in examples])
        labels = pad([target.labels for target in targets], IGNORED, device)
        marked = pad([target.marked for target in targets], False, device).bool()
        return {
            "input_features": features,
            "decoder_input_ids": pad([target.ids for target in targets], self.whisper.end_of_text, device),
            "labels": labels,
            "weights": torch.where(marked, self.marker_weight, 1.0) * (labels != IGNORED),
        }


class DetectionTrainer(Trainer):
    """Trainer whose batches are made of Material.

    A batch that does not fit the card's memory goes through in halves (and halves of those), whose gradients add up to
    those of the whole batch: the training is the same, only slower. So do the gradients of processes that share it.
    """

    def __init__(
        self,
        material: Material,
        sampler: BucketBatchSampler,
        *,
        processes: Processes,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            train_dataset=cast(Dataset[Example], material.training), data_collator=material.batch, **kwargs
        )
        # A Trainer spreads batches over all cards it sees (DataParallel): here each process has one.
        self.args._n_gpu = min(self.args.n_gpu, 1)
        self._material = material
        self._sampler = sampler
        self._processes = processes
        self._clips_at_once = self.args.per_device_train_batch_size

    def get_train_dataloader(self) -> DataLoader[Example]:
        loader = DataLoader(
            cast(Dataset[Example], self.train_dataset), batch_sampler=self._sampler, collate_fn=self.data_collator
        )
        # As if there were one process: the sampler has shared the batches out already.
        return prepare_data_loader(loader, num_processes=1, process_index=0)

    def training_step(self, model: Any, inputs: dict[str, torch.Tensor], *_args: Any, **_kwargs: Any) -> torch.Tensor:
        model.train()
        total = inputs["weights"].sum()
        self._processes.add_up([total])
        while True:
            try:
                # DDP adds up while gradients are made: a process that ran out of memory there would be waited for.
                with self.accelerator.no_sync(model):
                    loss = self._gradients(model, inputs, total)
                break
            except torch.OutOfMemoryError:
                if self._clips_at_once == 1:
                    raise OutOfMemory from None
            # Outside of the handler: the exception holds on to what is to be freed.
            self._clips_at_once = max(1, min(self._clips_at_once, len(inputs["labels"])) // 2)
            logger.warning(
                "out of memory: batches go on in parts of %d clips, which gives the same adapter more slowly",
                self._clips_at_once,
            )
            model.zero_grad()
            torch.cuda.empty_cache()
        norm = self._add_up(loss)
        # Before the step is taken: the weights are still those of a moment ago.
        step = self.state.global_step + 1
        self._check_finite("training loss", loss.item(), step)
        self._check_finite("norm of the gradients", norm.item(), step)
        return loss

    def _gradients(self, model: Any, inputs: dict[str, torch.Tensor], total: torch.Tensor) -> torch.Tensor:
        """Of this process's share of a batch whose tokens weigh `total`."""
        weights = inputs["weights"]
        loss = torch.zeros((), device=total.device)
        for start in range(0, len(weights), self._clips_at_once):
            part = slice(start, start + self._clips_at_once)
            share = weighted_losses(model, {name: values[part] for name, values in inputs.items()}).sum() / total
            self.accelerator.backward(share)
            loss += share.detach()
        return loss

    def _add_up(self, loss: torch.Tensor) -> torch.Tensor:
        """Loss and gradients become those of the whole batch. Returns the gradients' norm, which is NaN or infinite
        where any of them is; the same in all processes."""
        trained = [parameter for parameter in cast(torch.nn.Module, self.model).parameters() if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:  # no share of this batch
                parameter.grad = torch.zeros_like(parameter)
        gradients = [cast(torch.Tensor, parameter.grad) for parameter in trained]
        self._processes.add_up([loss, *gradients])
        return torch.nn.utils.get_total_norm(gradients)

    def _check_finite(self, name: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"the {name} became {value} at step {step}: lower training.learning_rate (it is "
                f"{self.args.learning_rate:g}) and train again"
            )

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._save_checkpoint(*args, **kwargs)
        except RuntimeError as error:
            if "inline_container" not in str(error):
                raise
            # torch writes its archives itself, and knows no OSError.
            raise PipelineError(
                f"a checkpoint could not be written below {self.args.output_dir}: is the disk full? Run it again, and "
                "it goes on from the one before"
            ) from error

    def evaluate(self, *_args: Any, **_kwargs: Any) -> dict[str, float]:
        """The loss on the validation clips, and the average precision of their scores where both kinds are among them.

        Raises:
            TrainingDiverged: that loss is no number; the epoch's checkpoint, which comes after this, is not written.
        """
        assert self.model is not None
        model = self.model.eval()
        one = self._material
        share = self._processes.share(one.validation)

        def losses(batch: list[int]) -> list[tuple[float, float]]:
            with torch.inference_mode():
                inputs = one.batch([share[index] for index in batch])
                sums = weighted_losses(model, inputs).sum(dim=1), inputs["weights"].sum(dim=1)
            return list(zip(*(per_clip.tolist() for per_clip in sums), strict=True))

        buckets = [example.bucket for example in share]
        found = in_batches(buckets, BatchSize(clips_at_once(one.whisper)), losses)
        loss, weight = np.sum(self._processes.collect(found), axis=0)
        self._check_finite("validation loss", loss / weight, self.state.global_step)
        heard = score_examples(model, one.whisper, one.marker, share, states=one.states)
        scores = self._processes.collect([score.score for score in heard])
        truth = [example.contains_event for example in one.validation]
        metrics = {"eval_loss": float(loss / weight)}
        precision = average_precision(truth, scores)
        if precision is not None:
            metrics["eval_average_precision"] = precision
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def weighted_losses(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy of each label of a Material's batch, times its weight; float32 (batch, tokens)."""
    logits = model(
        input_features=inputs["input_features"], decoder_input_ids=inputs["decoder_input_ids"], use_cache=False
    ).logits
    losses = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2), inputs["labels"], ignore_index=IGNORED, reduction="none"
    )
    return losses * inputs["weights"]


class Watch(TrainerCallback):
    """Logs progress, and seals each checkpoint when it is whole."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def on_train_begin(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        self._begun_at = state.global_step
        self._report = log_progress(logger, "training step")

    def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        self._report(state.global_step - self._begun_at, state.max_steps - self._begun_at)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_kwargs: Any) -> None:
        epoch = f"epoch {math.ceil(state.epoch or 0)} of {args.num_train_epochs:g}"
        if logs and "loss" in logs:
            logger.info("%s: loss %.3f", epoch, logs["loss"])
        if logs and "eval_loss" in logs:
            precision = logs.get("eval_average_precision")
            ranked = "" if precision is None else f", average precision {precision:.3f}"
            logger.info("%s: validation loss %.3f%s", epoch, logs["eval_loss"], ranked)

    def on_save(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        self._processes.wait()  # each writes the state of its random numbers beside the rest
        if self._processes.is_first:
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")
