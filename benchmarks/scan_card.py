"""The speed of scoring on a card, on the shape of large-v3 with random weights, and how near it is to the bound.

Part of `python -m benchmarks.scan`, which leaves it out where there is no CUDA card. What is timed is what a scan does
between decoding and writing: features of the windows, the encoder, the probes, the decoder on the transcripts, the
probabilities. Every window is put before every adapter; a scan leaves out those where that changes nothing.
The bound counts the encoder's operations alone (PyTorch's `FlopCounterMode`) at the card's peak, dense bfloat16.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperTokenizer

from benchmarks.labelled import EVENT
from benchmarks.train_card import LARGE_V3, PEAK_FLOPS
from event_detection_pipeline.adapters.batch_size import MAX_CARD_CLIPS
from event_detection_pipeline.adapters.detector import Detector, LoadedAdapter, lowest_adapted_layer
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.marker import marker_of
from event_detection_pipeline.adapters.probe import PARTS, Probe
from event_detection_pipeline.adapters.release import Detection
from event_detection_pipeline.adapters.train import first_adapted_layer, lora_config
from event_detection_pipeline.adapters.whisper import TrimmedWhisper, Whisper
from event_detection_pipeline.config import SAMPLE_RATE, LoraSettings

WINDOW_SECONDS = 12.5
WORDS = 30  # of a window: speech of 2.4 words a second
WARM_UP, BATCHES, QUICK_BATCHES = 2, 20, 3


def rows(
    device: torch.device, base_model: Path, quick: bool, shape: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """A row for each batch size and number of events.

    Args:
        base_model: whose tokenizer is taken.
        shape: WhisperConfig's arguments, large-v3's by default.
    """
    for events in (1,) if quick else (1, 4):
        detector = random_detector(device, base_model, shape or LARGE_V3, events)
        for batch in (8,) if quick else (8, MAX_CARD_CLIPS):
            yield _row(detector, batch, quick)


def random_detector(device: torch.device, base_model: Path, shape: dict[str, Any], events: int) -> Detector:
    """Adapters in the default places on a model of this shape; none of the weights means anything."""
    config = WhisperConfig(**shape)
    torch.manual_seed(0)
    with device:
        model = TrimmedWhisper(config).bfloat16().eval()
    depth = first_adapted_layer(LoraSettings(), config.encoder_layers)
    lora = lora_config(LoraSettings(), depth)
    adapted = get_peft_model(model, lora, adapter_name="adapter_0")
    for number in range(1, events):
        adapted.add_adapter(f"adapter_{number}", lora)
    adapted.to(device, torch.bfloat16).eval()
    extractor, tokenizer = WhisperFeatureExtractor(config.num_mel_bins), WhisperTokenizer.from_pretrained(base_model)
    whisper = Whisper("random", model, extractor, tokenizer, Compute(device, torch.bfloat16))
    marker = marker_of(tokenizer, EVENT.target_token)
    detection = Detection(EVENT.name, EVENT.source_tag, EVENT.target_token, "random", 0.5, "none", "", ())
    probe = Probe(np.zeros((PARTS, config.d_model), np.float32), 0.0, 0.5, depth)
    loaded = [LoadedAdapter(f"chime{n}_v1", detection, f"adapter_{n}", marker, probe) for n in range(events)]
    return Detector(whisper, cast(PeftModel, adapted), loaded)


def _row(detector: Detector, batch: int, quick: bool) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.1, round(WINDOW_SECONDS * SAMPLE_RATE)).astype(np.float32) for _ in range(batch)]
    transcripts = [["morning"] * WORDS] * batch
    for _ in range(WARM_UP):
        detector.score(clips, transcripts)
    batches = QUICK_BATCHES if quick else BATCHES
    begun = time.perf_counter()
    for _ in range(batches):
        detector.score(clips, transcripts)  # its scores are in memory when it returns
    seconds = (time.perf_counter() - begun) / batches
    device = detector.whisper.compute.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    peak = next((value for word, value in PEAK_FLOPS.items() if word in name), None)
    flops = _encoder_flops(detector, clips)
    return {
        "device": name,
        "events": len(detector.adapters),
        "batch": batch,
        "window_s": WINDOW_SECONDS,
        "audio_hours_per_hour": round(batch * WINDOW_SECONDS / seconds),
        "batch_ms": round(seconds * 1000, 1),
        "encoder_tflop_per_batch": round(flops / 1e12, 2),
        "fraction_of_encoder_bound": round(flops / peak / seconds, 3) if peak else None,
    }


def _encoder_flops(detector: Detector, clips: list[np.ndarray]) -> int:
    """Operations of the encoder for one batch: its shared layers once, the others for each event."""
    encoder = detector.whisper.model.trimmed_encoder
    features = detector.whisper.features(clips)
    shared = lowest_adapted_layer(detector.whisper)
    with torch.inference_mode(), FlopCounterMode(display=False) as below:
        states = encoder.states(features, shared)
    with encoder.beginning_at(shared), torch.inference_mode(), FlopCounterMode(display=False) as above:
        encoder(states)
    return below.get_total_flops() + len(detector.adapters) * above.get_total_flops()
