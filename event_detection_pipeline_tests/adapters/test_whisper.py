"""The trimmed Whisper is Whisper: same features, same numbers, less work."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration

from event_detection_pipeline.adapters.device import choose_compute
from event_detection_pipeline.adapters.whisper import BaseModelUnavailable, Whisper, bucket_samples, load_whisper
from event_detection_pipeline.config import SAMPLE_RATE


def test_on_thirty_seconds_it_gives_exactly_what_the_original_gives(whisper: Whisper, base_model: Path) -> None:
    dtype = whisper.compute.dtype
    original = WhisperForConditionalGeneration.from_pretrained(str(base_model), dtype=dtype).eval()
    noise = np.random.default_rng(0).normal(0, 0.1, 30 * SAMPLE_RATE).astype(np.float32)
    features = whisper.features([noise])
    assert features.shape == (1, 80, 3000)
    with torch.inference_mode():
        ours = whisper.model.model.encoder(features).last_hidden_state
        theirs = original.model.encoder(features).last_hidden_state
    torch.testing.assert_close(ours, theirs)


def test_attention_is_the_fused_kind(whisper: Whisper) -> None:
    assert whisper.model.config._attn_implementation == "sdpa"


def test_short_clips_cost_short_inputs(whisper: Whisper) -> None:
    features = whisper.features([np.zeros(4 * SAMPLE_RATE, np.float32)])
    assert features.shape == (1, 80, 500)
    with torch.inference_mode():
        assert whisper.model.model.encoder(features).last_hidden_state.shape[1] == 250


@pytest.mark.parametrize(("seconds", "bucket"), [(0.01, 2.5), (2.5, 2.5), (2.6, 5.0), (29.0, 30.0), (30.0, 30.0)])
def test_buckets_are_multiples_up_to_thirty_seconds(seconds: float, bucket: float) -> None:
    assert bucket_samples(round(seconds * SAMPLE_RATE)) == bucket * SAMPLE_RATE


def test_a_model_that_is_nowhere_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BaseModelUnavailable, match="base_model"):
        load_whisper(str(tmp_path / "nothing"), choose_compute("cpu"))
