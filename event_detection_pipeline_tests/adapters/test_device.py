"""The number format is one that the hardware multiplies."""

from types import SimpleNamespace

import pytest
import torch

from event_detection_pipeline.adapters.device import choose_compute


@pytest.mark.parametrize(("generation", "dtype"), [((7, 5), torch.float32), ((8, 6), torch.bfloat16)])
def test_a_card_that_only_emulates_bfloat16_computes_in_float32(
    generation: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = SimpleNamespace(major=generation[0], minor=generation[1])
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "set_device": lambda _card: None,
        "current_device": lambda: 0,
        "get_device_properties": lambda _card: properties,
        "_check_bf16_tensor_supported": lambda _card: True,  # torch's own trial, which emulation passes
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda _precision: None)  # would hold for other tests
    assert choose_compute("cuda").dtype == dtype
