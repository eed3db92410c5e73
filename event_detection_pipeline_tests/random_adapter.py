"""Adapters without training, for tests of what is done with them: what they hear means nothing, but never changes."""

from dataclasses import replace
from pathlib import Path

import torch
from peft import get_peft_model

from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.probe import PARTS, PROBE_FILE, Probe, save_probe
from event_detection_pipeline.adapters.release import Detection, save_adapter
from event_detection_pipeline.adapters.train import lora_config
from event_detection_pipeline.adapters.whisper import Whisper, load_whisper
from event_detection_pipeline.config import LoraSettings

CPU = Compute(torch.device("cpu"), torch.float32)


def random_adapter(
    folder: Path,
    base_model: Path,
    *,
    seed: int = 0,
    first_layer: int = 2,
    part: str = "both",
    threshold: float = 0.5,
    probe_depth: int | None = None,
) -> Path:
    """Write an adapter into a new folder, named like `chime_v1`. Returns the folder.

    Args:
        probe_depth: after how many encoder layers a probe listens that has a say in the scores; None for no probe.
    """
    event = folder.name.rpartition("_v")[0]
    whisper = load_whisper(str(base_model), CPU)
    torch.manual_seed(seed)
    lora = LoraSettings.model_validate({"part": part, "rank": 4})
    model = get_peft_model(whisper.model, lora_config(lora, first_layer))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    folder.mkdir(parents=True)
    detection = detection_by_hand(whisper, event, threshold=threshold)
    if probe_depth is not None:
        detection = replace(detection, scorer="adapter and probe")
        weights = torch.randn(PARTS, whisper.model.config.d_model) / 100
        save_probe(folder / PROBE_FILE, Probe(weights.numpy(), 0.0, threshold, probe_depth))
    save_adapter(folder, model, whisper, detection)
    return folder


def detection_by_hand(whisper: Whisper, event: str, *, threshold: float = 0.5, language: str = "en") -> Detection:
    """What an adapter's folder says of it where no validation chose the threshold."""
    return Detection(
        event=event,
        source_tag=f"<{event}>",
        target_token=f"{event.upper()}_DETECTED",
        base_model=whisper.name,
        threshold=threshold,
        threshold_rule="by hand",
        manifest_sha256="0",
        prompt=tuple(whisper.prompt),
        language=language,
    )
