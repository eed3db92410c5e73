"""To which part of the data a conversation belongs: the same for ever, whatever else the stash holds."""

import hashlib
from typing import Literal

Split = Literal["train", "validation", "test"]


def split_of(conversation_id: str, validation_fraction: float, test_fraction: float) -> Split:
    """The split of a conversation, decided by the SHA-256 of its id.

    Test comes first on the number line, so that another validation fraction never moves a test conversation.
    """
    digest = hashlib.sha256(conversation_id.encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < test_fraction:
        return "test"
    return "validation" if position < test_fraction + validation_fraction else "train"
