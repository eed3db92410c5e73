"""Steps that fit the memory, and a loss that is the same however they are cut."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from event_detection_pipeline.adapters.batch_size import OutOfMemory
from event_detection_pipeline.adapters.checkpoints import newest_checkpoint
from event_detection_pipeline.adapters.examples import Example, training_target
from event_detection_pipeline.adapters.marker import encode_word, marker_of
from event_detection_pipeline.adapters.train import TrainedAdapter, Workplace, train_adapter
from event_detection_pipeline.adapters.trainer import Material, TrainingDiverged
from event_detection_pipeline.adapters.whisper import load_whisper
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline_tests.random_adapter import CPU

SETTINGS = TrainingSettings(epochs=2, batch_size=6)


def train(model: Path, examples: list[Example], most_clips: int) -> TrainedAdapter:
    """Train on a card that holds so many clips at once."""
    whisper = load_whisper(str(model), CPU)

    def fill_memory(_module: torch.nn.Module, _arguments: Any, inputs: dict[str, Any]) -> None:
        if torch.is_grad_enabled() and len(inputs["input_features"]) > most_clips:
            raise torch.OutOfMemoryError("CUDA out of memory")

    whisper.model.register_forward_pre_hook(fill_memory, with_kwargs=True)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    return train_adapter(whisper, marker, examples[:14], examples[14:], lora=LoraSettings(), settings=SETTINGS)


def test_validated_on_one_kind_of_clip_a_training_says_no_average_precision(
    tiny_model: Path, examples: list[Example], caplog: pytest.LogCaptureFixture
) -> None:
    whisper = load_whisper(str(tiny_model), CPU)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    with caplog.at_level(logging.INFO, "event_detection_pipeline"):
        trained = train_adapter(whisper, marker, examples[:8], examples[9:15:2], lora=LoraSettings(), settings=SETTINGS)
    validated = [point for point in trained.history if point.validation_loss is not None]
    assert len(validated) == SETTINGS.epochs
    assert all(point.average_precision is None for point in validated)
    assert "validation loss" in caplog.text and "average precision" not in caplog.text


def test_a_marker_and_what_follows_it_are_marked_in_a_target(tiny_model: Path, examples: list[Example]) -> None:
    whisper = load_whisper(str(tiny_model), CPU)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    example = replace(examples[0], words=("good", "morning", "all"), markers=(1, 3))
    target = training_target(whisper, marker, example)
    text = [encode_word(whisper.tokenizer, word) for word in example.words]
    end = whisper.end_of_text
    assert target.labels[len(whisper.prompt) - 1 :] == [
        *text[0], *marker.ids, *text[1], *text[2], *marker.ids, end,
    ]  # fmt: skip
    marked = [label for label, counts in zip(target.labels, target.marked, strict=True) if counts]
    assert marked == [*marker.ids, text[1][0], *marker.ids, end]


def test_the_marker_and_what_follows_it_count_more_and_padding_not_at_all(
    tiny_model: Path, examples: list[Example]
) -> None:
    whisper = load_whisper(str(tiny_model), CPU)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    marked = replace(examples[0], words=("good", "morning"), markers=(1,))
    short = replace(examples[1], words=("good",))
    material = Material(whisper, marker, (), (), None, marker_weight=7.0)
    first, second = (encode_word(whisper.tokenizer, word) for word in marked.words)
    prompt = [0.0] * (len(whisper.prompt) - 1)
    long = [*prompt, *[1.0] * len(first), *[7.0] * (len(marker.ids) + 1), *[1.0] * (len(second) - 1), 1.0]
    plain = [*prompt, *[1.0] * len(first), 1.0]
    plain += [0.0] * (len(long) - len(plain))
    assert material.batch([marked, short])["weights"].tolist() == [long, plain]


def test_a_batch_that_does_not_fit_goes_in_parts_to_the_same_result(
    tiny_model: Path, examples: list[Example], caplog: pytest.LogCaptureFixture
) -> None:
    # Texts of different lengths: every token weighs the same, in whichever part its clip is.
    varied = [
        Example(one.audio, one.words * (1 + n % 3), one.markers, one.samples, one.conversation_id)
        for n, one in enumerate(examples)
    ]
    whole = train(tiny_model, varied, most_clips=6)
    with caplog.at_level(logging.WARNING):
        parts = train(tiny_model, varied, most_clips=2)
    assert [record.args for record in caplog.records if "out of memory" in record.message] == [(3,), (1,)]
    assert whole.steps == parts.steps
    losses = [[point.loss for point in one.history if point.loss is not None] for one in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    expected = dict(whole.model.named_parameters())
    for name, value in parts.model.named_parameters():
        torch.testing.assert_close(value, expected[name], rtol=1e-2, atol=1e-5)


def train_until_it_diverges(
    model: Path, examples: list[Example], workplace: Workplace, spoil: Callable[[int, torch.Tensor], None], epochs: int
) -> None:
    """Three steps an epoch, with a validation after each. `spoil` is called with each forward pass of clips that the
    loss is made of: how many steps have begun, and the logits."""
    whisper = load_whisper(str(model), CPU)
    steps = 0

    def passed(_module: torch.nn.Module, _arguments: Any, output: Any) -> None:
        nonlocal steps
        steps += torch.is_grad_enabled()
        spoil(steps, output.logits)

    whisper.model.register_forward_hook(passed)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    settings = SETTINGS.model_copy(update={"epochs": epochs})
    train_adapter(
        whisper, marker, examples[:14], examples[14:], lora=LoraSettings(), settings=settings, workplace=workplace
    )


def test_a_loss_that_is_no_number_leaves_the_last_good_checkpoint(
    tiny_model: Path, examples: list[Example], tmp_path: Path
) -> None:
    def spoil(step: int, logits: torch.Tensor) -> None:
        if step == 5:  # the second epoch's second step
            logits *= torch.nan

    workplace = Workplace(tmp_path / "checkpoints", tmp_path / "states")
    with pytest.raises(TrainingDiverged, match="training loss became nan at step 5"):
        train_until_it_diverges(tiny_model, examples, workplace, spoil, epochs=2)
    assert newest_checkpoint(workplace.checkpoints) == workplace.checkpoints / "checkpoint-3"


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_gradient_that_is_no_number_in_an_epochs_last_step_reaches_neither_weights_nor_checkpoint(
    tiny_model: Path, examples: list[Example], tmp_path: Path, epochs: int
) -> None:
    def spoil(step: int, logits: torch.Tensor) -> None:
        if step == 3 and torch.is_grad_enabled():  # the loss is still a number
            logits.register_hook(lambda gradient: gradient * torch.inf)

    workplace = Workplace(tmp_path / "checkpoints", tmp_path / "states")
    with pytest.raises(TrainingDiverged, match="norm of the gradients became nan at step 3"):
        train_until_it_diverges(tiny_model, examples, workplace, spoil, epochs=epochs)
    assert newest_checkpoint(workplace.checkpoints) is None


def test_a_validation_loss_that_is_no_number_leaves_the_last_good_checkpoint(
    tiny_model: Path, examples: list[Example], tmp_path: Path
) -> None:
    def spoil(step: int, logits: torch.Tensor) -> None:
        if step == 6 and not torch.is_grad_enabled():  # the validation after the second epoch
            logits *= torch.nan

    workplace = Workplace(tmp_path / "checkpoints", tmp_path / "states")
    with pytest.raises(TrainingDiverged, match="validation loss became nan at step 6"):
        train_until_it_diverges(tiny_model, examples, workplace, spoil, epochs=2)
    assert newest_checkpoint(workplace.checkpoints) == workplace.checkpoints / "checkpoint-3"


def test_when_a_single_clip_does_not_fit_it_says_what_to_do(tiny_model: Path, examples: list[Example]) -> None:
    with pytest.raises(OutOfMemory, match="smaller base_model"):
        train(tiny_model, examples, most_clips=0)


def test_memory_that_ran_out_beside_the_steps_is_not_put_down_to_a_single_clip(
    tiny_model: Path, examples: list[Example]
) -> None:
    whisper = load_whisper(str(tiny_model), CPU)

    def fill_memory(_module: torch.nn.Module, _arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    whisper.model.trimmed_encoder.layers[0].register_forward_pre_hook(fill_memory)  # frozen: its states are kept
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    with pytest.raises(OutOfMemory, match="frozen layers") as raised:
        train_adapter(whisper, marker, examples[:14], [], lora=LoraSettings(), settings=SETTINGS)
    assert "single clip" not in str(raised.value)
