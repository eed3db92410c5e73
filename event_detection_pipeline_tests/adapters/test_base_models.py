"""Every Whisper can be adapted: the shapes of tiny.en, small, large-v3, turbo and distil, in random weights."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from event_detection_pipeline.adapters.detector import load_detectors
from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.marker import marker_of
from event_detection_pipeline.adapters.release import save_adapter
from event_detection_pipeline.adapters.scoring import score_examples
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.train import train_adapter
from event_detection_pipeline.adapters.whisper import BaseModelUnavailable, UnknownLanguage, load_whisper
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline_tests.adapters.conftest import make_whisper
from event_detection_pipeline_tests.random_adapter import CPU, detection_by_hand, random_adapter


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    mels: int
    prompt: list[str]


ENGLISH = Shape(51864, 80, ["<|startoftranscript|>", "<|notimestamps|>"])
MULTILINGUAL = Shape(51865, 80, ["<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>"])
LARGE_V3 = Shape(51866, 128, MULTILINGUAL.prompt)  # and turbo, and distil-large-v3


@pytest.mark.parametrize("shape", [ENGLISH, MULTILINGUAL, LARGE_V3], ids=["English-only", "multilingual", "large-v3"])
@pytest.mark.parametrize("part", ["encoder", "decoder", "both"])
def test_it_is_trained_saved_and_loaded_again(
    shape: Shape, part: str, base_model: Path, examples: list[Example], tmp_path: Path
) -> None:
    folder = make_whisper(tmp_path / "whisper", base_model, vocabulary=shape.vocabulary, mels=shape.mels)
    language = "en" if shape is ENGLISH else "de"
    whisper = load_whisper(str(folder), CPU, language)
    assert whisper.tokenizer.convert_ids_to_tokens(whisper.prompt) == shape.prompt
    assert whisper.features([np.zeros(16_000, np.float32)]).shape == (1, shape.mels, 250)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    lora = LoraSettings.model_validate({"part": part})
    trained = train_adapter(
        whisper, marker, examples[:8], examples[8:12], lora=lora, settings=TrainingSettings(epochs=1)
    )
    scores = [found.score for found in score_examples(trained.model, whisper, marker, examples[12:])]
    adapter = tmp_path / "chime_v1"
    adapter.mkdir()
    save_adapter(adapter, trained.model, whisper, detection_by_hand(whisper, "chime", language=language))
    (detector,) = load_detectors([adapter], CPU)
    assert detector.whisper.prompt == whisper.prompt
    again = [found.score for found in score_examples(detector.model, detector.whisper, marker, examples[12:])]
    assert again == pytest.approx(scores, rel=1e-3)


def test_a_language_it_does_not_know_is_named(base_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownLanguage, match="English-only"):
        load_whisper(str(base_model), CPU, "de")
    multilingual = make_whisper(tmp_path / "whisper", base_model, vocabulary=51865)
    with pytest.raises(UnknownLanguage, match="'xx'"):
        load_whisper(str(multilingual), CPU, "xx")
    with pytest.raises(UnknownLanguage, match="'yue'"):  # a language of large-v3 alone
        load_whisper(str(multilingual), CPU, "yue")


@pytest.mark.parametrize("shape", [ENGLISH, MULTILINGUAL, LARGE_V3], ids=["English-only", "multilingual", "large-v3"])
def test_it_writes_also_where_its_folder_does_not_say_how(shape: Shape, base_model: Path, tmp_path: Path) -> None:
    folder = make_whisper(tmp_path / "whisper", base_model, vocabulary=shape.vocabulary, mels=shape.mels)
    (folder / "generation_config.json").unlink()
    whisper = load_whisper(str(folder), CPU, "en" if shape is ENGLISH else "de")
    begun: list[list[int]] = []
    whisper.model.model.decoder.register_forward_pre_hook(
        lambda _module, _arguments, inputs: begun.append(inputs["input_ids"][0].tolist()), with_kwargs=True
    )
    whisper.write(np.zeros(16_000, np.float32))
    assert begun[0] == whisper.prompt


@pytest.mark.parametrize("said", [{"temperature": 0.2}, {"length_penalty": 2.0}, {"early_stopping": True}])
def test_an_adapter_is_saved_whatever_its_base_model_says_of_sampling(
    said: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "whisper"))
    change_json(folder / "generation_config.json", said)
    adapter = random_adapter(tmp_path / "chime_v1", folder, first_layer=1)
    ((key, value),) = said.items()
    assert getattr(GenerationConfig.from_pretrained(str(adapter)), key) == value
    (detector,) = load_detectors([adapter], CPU)
    detector.transcribe(np.zeros(16_000, np.float32))


@pytest.mark.parametrize(
    "said",
    [
        {"dropout": 0.3, "attention_dropout": 0.3, "activation_dropout": 0.3, "decoder_layerdrop": 0.9},
        {"apply_spec_augment": True, "mask_time_prob": 0.3, "mask_feature_prob": 0.3, "mask_feature_length": 2},
    ],
    ids=["dropout", "SpecAugment"],
)
def test_what_a_base_model_was_regularised_with_does_not_blur_what_is_kept(
    said: dict[str, Any], tiny_model: Path, examples: list[Example], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "whisper"))
    change_json(folder / "config.json", said)
    whisper = load_whisper(str(folder), CPU)
    plain = StateCache(load_whisper(str(tiny_model), CPU), 1, tmp_path / "plain", 0)(examples[:2])
    whisper.model.train()  # as it is when a training first meets a clip
    states = StateCache(whisper, 1, tmp_path / "states", 0)(examples[:2])
    assert torch.equal(states, plain)
    with whisper.model.trimmed_encoder.beginning_at(1), torch.no_grad():
        tokens = torch.tensor([whisper.prompt] * 2)
        first, second = (whisper.model(input_features=states, decoder_input_ids=tokens).logits for _ in range(2))
    assert torch.equal(first, second) and torch.equal(states, plain)


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])


BROKEN: dict[str, Callable[[Path], object]] = {
    "weights cut short": cut_weights,
    "weights of another shape": lambda folder: change_json(folder / "config.json", {"d_model": 64}),
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "configuration cut short": lambda folder: (folder / "config.json").write_text("{"),
    "no feature extractor": lambda folder: (folder / "preprocessor_config.json").unlink(),
    "tokenizer cut short": lambda folder: (folder / "tokenizer.json").write_text("{"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN.keys())
def test_a_folder_that_is_no_whole_whisper_is_named(
    damage: Callable[[Path], object], tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "whisper"))
    damage(folder)
    with pytest.raises(BaseModelUnavailable, match=str(folder)):
        load_whisper(str(folder), CPU)


def change_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
