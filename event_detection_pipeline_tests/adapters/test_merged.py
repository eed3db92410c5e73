"""An adapter that was saved, loaded and merged into its base model hears what it heard in training."""

from pathlib import Path

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from transformers import WhisperForConditionalGeneration

from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.marker import marker_of
from event_detection_pipeline.adapters.release import save_adapter
from event_detection_pipeline.adapters.scoring import score_examples
from event_detection_pipeline.adapters.train import lora_config
from event_detection_pipeline.adapters.whisper import Whisper, load_whisper
from event_detection_pipeline.config import LoraSettings
from event_detection_pipeline_tests.random_adapter import CPU, detection_by_hand


def scores(model: torch.nn.Module, whisper: Whisper, examples: list[Example]) -> list[float]:
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    return [one.score for one in score_examples(model, whisper, marker, examples)]


def test_a_merged_model_scores_as_the_adapted_one_did(
    base_model: Path, examples: list[Example], tmp_path: Path
) -> None:
    heard = examples[:4]
    whisper = load_whisper(str(base_model), CPU)
    bare = scores(whisper.model, whisper, heard)
    adapted = get_peft_model(whisper.model, lora_config(LoraSettings(rank=4), 2))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    adapted.eval()
    before = scores(adapted, whisper, heard)
    assert not np.allclose(np.log(before), np.log(bare), atol=0.5)
    save_adapter(tmp_path, adapted, whisper, detection_by_hand(whisper, "chime"))

    again = load_whisper(str(base_model), CPU)
    merged = PeftModel.from_pretrained(again.model, str(tmp_path)).merge_and_unload()
    assert not any("lora" in name for name, _ in merged.named_parameters())
    np.testing.assert_allclose(scores(merged, again, heard), before, rtol=1e-2)

    # What anyone's own Whisper becomes has the very same weights.
    theirs = WhisperForConditionalGeneration.from_pretrained(str(base_model))
    theirs = PeftModel.from_pretrained(theirs, str(tmp_path)).merge_and_unload()
    torch.testing.assert_close(dict(theirs.state_dict()), dict(merged.state_dict()))
