"""Attention for listening on a CPU in bfloat16: plain products, and nothing that Whisper does not need between them."""

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

PLAIN_ATTENTION = "plain"


def plain_attention(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **_options: object,
) -> tuple[torch.Tensor, None]:
    """softmax(query · key + mask) · value, by the signature that transformers asks for.

    The formula is that of Vaswani et al. 2017, section 3.2.1. PyTorch's fused attention does not multiply bfloat16 by
    the CPU's own instructions, and transformers' eager one copies all weights to multiply them by 1.

    Args:
        query, key, value: (batch, heads, positions, size), the query scaled.
        attention_mask: what is added to the weights.

    Returns:
        (batch, positions, heads, size), and no weights.
    """
    weights = query @ key.transpose(2, 3)
    if attention_mask is not None:
        weights += attention_mask
    attended = torch.softmax(weights, dim=-1) @ value
    return attended.transpose(1, 2).contiguous(), None


AttentionInterface.register(PLAIN_ATTENTION, plain_attention)
AttentionMaskInterface.register(PLAIN_ATTENTION, eager_mask)
