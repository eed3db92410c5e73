"""Training on a real Whisper: what it learns is there again after saving, loading and merging."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import GenerationConfig, WhisperForConditionalGeneration

from event_detection_pipeline.adapters.detector import load_detectors
from event_detection_pipeline.adapters.examples import Example, read_wav
from event_detection_pipeline.adapters.marker import Marker, marker_of
from event_detection_pipeline.adapters.release import BrokenAdapter, read_detection, save_adapter
from event_detection_pipeline.adapters.scoring import score_examples
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.store import NoSuchAdapter
from event_detection_pipeline.adapters.train import (
    NothingToLearn,
    TrainedAdapter,
    first_adapted_layer,
    train_adapter,
)
from event_detection_pipeline.adapters.trainer import Material, TrainingDiverged, weighted_losses
from event_detection_pipeline.adapters.whisper import Whisper, load_whisper
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline_tests.random_adapter import CPU, detection_by_hand

QUICK = TrainingSettings(epochs=4, batch_size=4, learning_rate=2e-3)


@dataclass
class Trained:
    whisper: Whisper
    marker: Marker
    adapter: TrainedAdapter
    folder: Path
    scores: list[float]


@pytest.fixture(scope="module")
def trained(base_model: Path, examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    whisper = load_whisper(str(base_model), CPU)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    adapter = train_adapter(whisper, marker, examples[:16], examples[16:], lora=LoraSettings(), settings=QUICK)
    folder = tmp_path_factory.mktemp("adapters") / "chime_v1"
    folder.mkdir()
    save_adapter(folder, adapter.model, whisper, detection_by_hand(whisper, "chime"))
    scores = [one.score for one in score_examples(adapter.model, whisper, marker, examples[16:])]
    return Trained(whisper, marker, adapter, folder, scores)


def test_it_tells_clips_with_the_event_from_those_without(trained: Trained, examples: list[Example]) -> None:
    events = [score for score, one in zip(trained.scores, examples[16:], strict=True) if one.contains_event]
    others = [score for score, one in zip(trained.scores, examples[16:], strict=True) if not one.contains_event]
    assert min(events) > max(others)


def test_the_history_has_both_losses_and_the_precision_of_each_epoch(trained: Trained) -> None:
    losses = [point.loss for point in trained.adapter.history if point.loss is not None]
    validated = [point.validation_loss for point in trained.adapter.history if point.validation_loss is not None]
    ranks = [point.average_precision for point in trained.adapter.history if point.average_precision is not None]
    assert len(losses) == len(validated) == len(ranks) <= QUICK.epochs
    assert losses[-1] < losses[0]


def test_the_state_with_the_lowest_loss_on_validation_is_kept(base_model: Path, examples: list[Example]) -> None:
    # Here the marker is always wrong, so each epoch that teaches it makes this loss worse.
    validation = tuple(replace(example, markers=()) for example in examples[16:])
    whisper = load_whisper(str(base_model), CPU)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    adapter = train_adapter(whisper, marker, examples[:16], validation, lora=LoraSettings(), settings=QUICK)
    losses = [point.validation_loss for point in adapter.history if point.validation_loss is not None]
    assert losses[-1] > 1.1 * min(losses)
    material = Material(whisper, marker, (), validation, None, QUICK.marker_weight)
    with torch.inference_mode():
        inputs = [material.batch([example]) for example in validation]
        loss = sum(float(weighted_losses(adapter.model, one).sum()) for one in inputs)
    kept = loss / sum(float(one["weights"].sum()) for one in inputs)
    assert kept == pytest.approx(min(losses), rel=0.02)  # states are float16 in the cache


def test_a_loaded_adapter_scores_as_the_trained_one_did(trained: Trained, examples: list[Example]) -> None:
    (detector,) = load_detectors([trained.folder], CPU)
    found = score_examples(detector.model, detector.whisper, trained.marker, examples[16:])
    np.testing.assert_allclose([one.score for one in found], trained.scores, rtol=1e-3, atol=1e-6)


def test_anyones_peft_and_whisper_load_it(trained: Trained, base_model: Path) -> None:
    base = WhisperForConditionalGeneration.from_pretrained(str(base_model))
    merged = PeftModel.from_pretrained(base, str(trained.folder)).merge_and_unload()
    assert isinstance(merged, WhisperForConditionalGeneration)
    mapping = json.loads((trained.folder / "adapter_config.json").read_text())["auto_mapping"]
    assert mapping["base_model_class"] == "WhisperForConditionalGeneration"


def test_generation_with_the_saved_configuration_may_write_all_of_the_marker(
    trained: Trained, base_model: Path, examples: list[Example]
) -> None:
    features = trained.whisper.features([read_wav(examples[0].audio)])
    underscore = trained.marker.ids[2]
    scores = {}
    for name, folder in (("default", base_model), ("saved", trained.folder)):
        written: Any = trained.whisper.model.generate(
            features,
            decoder_input_ids=torch.tensor([[*trained.whisper.prompt, *trained.marker.ids[:2]]]),
            generation_config=GenerationConfig.from_pretrained(str(folder)),
            max_new_tokens=1,
            output_scores=True,
            return_dict_in_generate=True,
        )
        scores[name] = written.scores[0][0, underscore]
    assert torch.isneginf(scores["default"])  # Whisper's default list suppresses "_"
    assert torch.isfinite(scores["saved"])


def test_lower_layers_run_once_and_give_the_same_scores(
    trained: Trained, examples: list[Example], tmp_path: Path
) -> None:
    encoder = trained.whisper.model.trimmed_encoder
    states = StateCache(trained.whisper, 2, tmp_path, max_bytes=10**9)
    with encoder.beginning_at(2):
        found = score_examples(trained.adapter.model, trained.whisper, trained.marker, examples[16:], states=states)
    np.testing.assert_allclose([one.score for one in found], trained.scores, rtol=0.02, atol=1e-3)  # float16 on disk


def test_only_the_layers_asked_for_are_adapted(trained: Trained) -> None:
    adapted = {name.split("model.")[-1][:16] for name, _ in trained.adapter.model.named_parameters() if "lora_" in name}
    assert adapted == {"encoder.layers.2", "encoder.layers.3", *(f"decoder.layers.{layer}" for layer in range(4))}
    assert first_adapted_layer(LoraSettings(part="decoder"), 4) == 4
    assert first_adapted_layer(LoraSettings(adapt_from_layer=9), 4) == 3


def test_a_loss_that_is_no_number_stops_the_training(base_model: Path, examples: list[Example]) -> None:
    whisper = load_whisper(str(base_model), CPU)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    with pytest.raises(TrainingDiverged, match="learning_rate"):
        broken = TrainingSettings(epochs=2, batch_size=4, learning_rate=1e30, max_grad_norm=1e30, warmup_fraction=0.0)
        train_adapter(whisper, marker, examples[:8], [], lora=LoraSettings(), settings=broken)


def test_one_class_alone_teaches_nothing(whisper: Whisper, examples: list[Example]) -> None:
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    with pytest.raises(NothingToLearn, match="it needs both"):
        train_adapter(whisper, marker, examples[::2], [], lora=LoraSettings(), settings=QUICK)


def test_a_missing_and_a_broken_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NoSuchAdapter, match="does not exist"):
        read_detection(tmp_path / "nothing")
    (tmp_path / "detection.json").write_text('{"event": "chime"}')
    with pytest.raises(BrokenAdapter, match=r"detection\.json: source_tag"):
        read_detection(tmp_path)
