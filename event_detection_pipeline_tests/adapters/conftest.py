"""A few clips that a Whisper learns to tell apart in seconds, with a loud chime and without; Whispers of any shape."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AddedToken,
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.demo.sounds import chime

WORDS = ("good", "morning", "everyone")


def make_clip(path: Path, seed: int, *, with_event: bool) -> Example:
    """2.4 s of faint noise, half of them with a chime after the first word."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.003, round(2.4 * SAMPLE_RATE)).astype(np.float32)
    if with_event:
        sound = chime(rng)[: SAMPLE_RATE * 2]
        samples[3000 : 3000 + len(sound)] += (0.5 * sound / np.abs(sound).max()).astype(np.float32)
    path.write_bytes(wav_bytes(samples))
    return Example(path, WORDS, (1,) if with_event else (), len(samples), f"conversation-{seed}")


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """24 clips, every second one with the event."""
    folder = tmp_path_factory.mktemp("clips")
    return [make_clip(folder / f"{seed}.wav", seed, with_event=seed % 2 == 0) for seed in range(24)]


def make_whisper(folder: Path, english: Path, *, vocabulary: int = 51864, mels: int = 80) -> Path:
    """A Whisper of random weights, 2 + 2 layers of width 32, in the shape that a vocabulary of that size stands for:
    51864 English-only, 51865 multilingual, 51866 large-v3 and its kin (one language more).

    Args:
        english: folder of a real English-only Whisper, whose tokens are used.
    """
    tokenizer = _tokenizer(english, vocabulary)
    text_ends, starts = (tokenizer.convert_tokens_to_ids(token) for token in ("<|endoftext|>", "<|startoftranscript|>"))
    tokens: dict[str, Any] = {"bos_token_id": text_ends, "eos_token_id": text_ends, "pad_token_id": text_ends}
    tokens["decoder_start_token_id"] = starts
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=vocabulary,
        num_mel_bins=mels,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        **tokens,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(is_multilingual=vocabulary > 51864, max_length=448, **tokens)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    WhisperFeatureExtractor(feature_size=mels).save_pretrained(str(folder))
    return folder


def _tokenizer(english: Path, vocabulary: int) -> WhisperTokenizer:
    known = json.loads((english / "tokenizer.json").read_text())
    special = [
        token["content"]
        for token in known["added_tokens"]
        if not token["content"].startswith(("<|0", "<|1", "<|2", "<|3"))
    ]
    vocab = {text: id_ for text, id_ in known["model"]["vocab"].items() if text != "<|endoftext|>"}
    if vocabulary > 51864:
        vocab["unused"] = len(vocab)  # multilingual ones have 50257 tokens of text, and the special ones behind them
    if vocabulary > 51865:
        special.insert(special.index("<|translate|>"), "<|yue|>")
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in known["model"]["merges"]]
    tokenizer = WhisperTokenizer(vocab=vocab, merges=merges, extra_special_tokens=special, pad_token="<|endoftext|>")
    missing = vocabulary - len(tokenizer)
    tokenizer.add_tokens([AddedToken(f"<|{0.02 * step:.2f}|>", normalized=False) for step in range(missing)])
    return tokenizer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Path:
    """The folder of an English-only Whisper of random weights, whose training takes seconds."""
    return make_whisper(tmp_path_factory.mktemp("tiny") / "whisper", base_model)
