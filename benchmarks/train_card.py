"""The speed of a training step on a card, on the shape of large-v3 with random weights: ours beside the original's.

Part of `python -m benchmarks.train`, which leaves it out where there is no CUDA card. Operations are counted by PyTorch
(`FlopCounterMode`); the peak is the card's data sheet, dense bfloat16.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import WhisperConfig

from event_detection_pipeline.adapters.train import first_adapted_layer, lora_config
from event_detection_pipeline.adapters.whisper import TrimmedWhisper
from event_detection_pipeline.config import LoraSettings

LARGE_V3: dict[str, Any] = {
    "vocab_size": 51866,
    "num_mel_bins": 128,
    "d_model": 1280,
    "encoder_layers": 32,
    "decoder_layers": 32,
    "encoder_attention_heads": 20,
    "decoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "decoder_ffn_dim": 5120,
}
ORIGINAL = {"r": 64, "lora_alpha": 64, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"]}
# Dense bfloat16 FLOP/s by a word in the device's name (NVIDIA's data sheets; SXM versions).
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
CLIP_SECONDS, PADDED_SECONDS = 12.5, 30.0
POSITIONS_PER_SECOND = 50  # of the encoder
TOKENS = 48  # of a clip's text
WARM_UP, STEPS, QUICK_STEPS = 3, 20, 3


@dataclass(frozen=True)
class Case:
    """What goes through the model at each step: `batch` clips, so many `at_once`."""

    recipe: str
    batch: int
    at_once: int
    seconds: float
    first_layer: int | None


def rows(device: torch.device, quick: bool, shape: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """A row for each recipe and batch size. `shape`: WhisperConfig's arguments, large-v3's by default."""
    config = WhisperConfig(**(shape or LARGE_V3))
    first = first_adapted_layer(LoraSettings(), config.encoder_layers)
    ours, original = lora_config(LoraSettings(), first), LoraConfig(**ORIGINAL)
    yield _row(config, original, Case("original", 4, 1, PADDED_SECONDS, None), device, quick)
    for batch in (1, 8) if quick else (1, 8, 32):
        yield _row(config, ours, Case("ours", batch, batch, CLIP_SECONDS, first), device, quick)


def _row(config: WhisperConfig, lora: LoraConfig, case: Case, device: torch.device, quick: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with device:
        whisper = TrimmedWhisper(config).bfloat16()
    whisper.trimmed_encoder.first_layer = case.first_layer
    model = get_peft_model(whisper, lora)
    model.train()
    step = _step(model, config, case, device)
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    seconds = _timed(step, device, QUICK_STEPS if quick else STEPS)
    flops = counter.get_total_flops() / seconds
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    peak = next((value for word, value in PEAK_FLOPS.items() if word in name), None)
    return {
        "recipe": case.recipe,
        "device": name,
        "batch": case.batch,
        "clip_s": case.seconds,
        "step_ms": round(seconds * 1000, 1),
        "samples_per_s": round(case.batch / seconds, 1),
        "tflop_per_s": round(flops / 1e12, 2),
        "fraction_of_peak": round(flops / peak, 3) if peak else None,
        "peak_gb": round(torch.cuda.max_memory_allocated(device) / 1e9, 1) if device.type == "cuda" else None,
    }


def _step(model: Any, config: WhisperConfig, case: Case, device: torch.device) -> Callable[[], None]:
    """Forward and backward for every part of the batch and an AdamW step, as the trainers do them."""
    positions = round(case.seconds * POSITIONS_PER_SECOND)
    shape = (config.num_mel_bins, 2 * positions) if case.first_layer is None else (positions, config.d_model)
    features = torch.randn(case.at_once, *shape, device=device, dtype=torch.bfloat16)
    ids = torch.randint(0, config.vocab_size, (case.at_once, TOKENS + 1), device=device)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-4)

    def step() -> None:
        for _ in range(case.batch // case.at_once):
            logits = model(input_features=features, decoder_input_ids=ids[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _timed(step: Callable[[], None], device: torch.device, steps: int) -> float:
    """Seconds of a step, the mean of several after a warm-up."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(WARM_UP):
        step()
    wait()
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return (time.perf_counter() - begun) / steps
