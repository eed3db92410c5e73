"""Attention for listening gives what transformers' own plain attention gives, bit for bit."""

import pytest
import torch
from transformers.models.whisper.modeling_whisper import eager_attention_forward

from event_detection_pipeline.adapters.attention import plain_attention


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("causal", [False, True])
def test_it_is_transformers_eager_attention(dtype: torch.dtype, causal: bool) -> None:
    query, key, value = torch.randn(3, 2, 6, 40, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask = torch.full((40, 40), torch.finfo(dtype).min, dtype=dtype).triu(1).expand(2, 1, 40, 40) if causal else None
    ours, _ = plain_attention(torch.nn.Identity(), query, key, value, mask, scaling=1.0)
    theirs, _ = eager_attention_forward(torch.nn.Identity(), query, key, value, mask, scaling=1.0)
    assert torch.equal(ours, theirs)
