"""Where models run: the device and number format, chosen once."""

import os
from dataclasses import dataclass
from typing import Literal

import torch

from event_detection_pipeline.errors import PipelineError


class DeviceUnavailable(PipelineError):
    """CUDA was asked for and is not there."""


@dataclass(frozen=True, slots=True)
class Compute:
    """A device with the dtype that models are loaded in on it."""

    device: torch.device
    dtype: torch.dtype

    @property
    def name(self) -> str:
        """As a person would say it: `cpu`, `NVIDIA GeForce RTX 3060`."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"


def choose_compute(device: Literal["auto", "cuda", "cpu"] = "auto") -> Compute:
    """`auto` is CUDA where there is one. bfloat16 where the hardware multiplies it (CUDA cards since Ampere, CPUs with
    AVX512-BF16: about 1.7 times faster there), float32 elsewhere: float16 overflows in training. Of several processes
    that torchrun started on this machine, each takes a card of its own.

    Raises:
        DeviceUnavailable: `cuda` without a usable card, or more processes than cards.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceUnavailable('device = "cuda", but torch sees no CUDA card; set device = "cpu" or "auto"')
    if device == "cpu" or not torch.cuda.is_available():
        return Compute(torch.device("cpu"), torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32)
    card, cards = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if card >= cards:
        raise DeviceUnavailable(f"torchrun started more processes than torch sees CUDA cards ({cards}); start {cards}")
    torch.cuda.set_device(card)
    torch.set_float32_matmul_precision("high")  # TF32 for LoRA's own matrices, which stay float32
    # Cards before Ampere emulate it, slower than they multiply float32.
    bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Compute(torch.device("cuda"), torch.bfloat16 if bfloat16 else torch.float32)
