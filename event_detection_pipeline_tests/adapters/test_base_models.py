"""Every Whisper can be adapted: the shapes of tiny.en, small, large-v3, turbo and distil, in random weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from event_detection_pipeline.adapters.detector import load_detectors
from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.marker import marker_of
from event_detection_pipeline.adapters.release import save_adapter
from event_detection_pipeline.adapters.scoring import score_examples
from event_detection_pipeline.adapters.train import train_adapter
from event_detection_pipeline.adapters.whisper import UnknownLanguage, load_whisper
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline_tests.adapters.conftest import make_whisper
from event_detection_pipeline_tests.random_adapter import CPU, detection_by_hand


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
