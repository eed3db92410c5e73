"""The batch size: what follows from a device's memory, and what happens when it was too much."""

import weakref
from dataclasses import replace
from threading import Barrier

import pytest
import torch
from transformers import WhisperConfig

from event_detection_pipeline.adapters.batch_size import (
    CPU_CLIPS,
    MAX_CARD_CLIPS,
    BatchSize,
    OutOfMemory,
    clips_at_once,
    clips_that_fit,
    in_batches,
)
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.whisper import Whisper

GB = 2**30
LARGE_V3 = WhisperConfig(d_model=1280, vocab_size=51866)
TINY = WhisperConfig(d_model=384, vocab_size=51864)


def test_the_batch_follows_from_free_memory_and_the_models_size() -> None:
    # 1500 frames * 11 * 1280 + 448 tokens * 51866 words, two bytes each, in half of 2 GB: 12.1 clips.
    assert clips_that_fit(2 * GB, LARGE_V3, torch.bfloat16) == 12
    assert clips_that_fit(2 * GB, LARGE_V3, torch.float32) == 6
    assert clips_that_fit(2 * GB, TINY, torch.float32) == 9
    assert clips_that_fit(1 * GB, LARGE_V3, torch.bfloat16) == 6


def test_a_full_card_is_tried_with_one_clip_and_an_empty_one_is_not_filled() -> None:
    assert clips_that_fit(0, LARGE_V3, torch.bfloat16) == 1
    assert clips_that_fit(80 * GB, TINY, torch.bfloat16) == MAX_CARD_CLIPS


def test_on_a_cpu_the_batch_is_fixed(whisper: Whisper) -> None:
    assert clips_at_once(whisper) == CPU_CLIPS


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_card_says_how_much_is_free(whisper: Whisper) -> None:
    on_card = replace(whisper, compute=Compute(torch.device("cuda"), torch.bfloat16))
    assert 1 <= clips_at_once(on_card) <= MAX_CARD_CLIPS


def test_batches_are_of_one_bucket_and_results_in_the_order_of_the_clips() -> None:
    batches: list[list[int]] = []

    def score(batch: list[int]) -> list[str]:
        batches.append(batch)
        return [f"clip {index}" for index in batch]

    found = in_batches([5, 3, 5, 3, 5], BatchSize(2), score)
    assert found == [f"clip {index}" for index in range(5)]
    assert batches == [[0, 2], [4], [1, 3]]


def test_threads_share_the_cores_and_leave_torch_as_it_was() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    together = Barrier(2, timeout=10)

    def score(batch: list[int]) -> list[tuple[int, int]]:
        together.wait()  # it breaks if one batch came after the other
        return [(index, torch.get_num_threads()) for index in batch]

    try:
        found = in_batches([1, 1, 2, 2, 1, 3], BatchSize(2, threads=2), score)
        assert found == [(index, 2) for index in range(6)]
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_what_goes_wrong_in_a_thread_is_told() -> None:
    def score(batch: list[int]) -> list[int]:
        raise ValueError(f"clip {batch[0]}")

    with pytest.raises(ValueError, match="clip 0"):
        in_batches([1, 1], BatchSize(1, threads=2), score)


def test_a_batch_that_does_not_fit_is_halved_for_good() -> None:
    sizes: list[int] = []

    def score(batch: list[int]) -> list[int]:
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return batch

    size = BatchSize(8)
    assert in_batches([1] * 9, size, score) == list(range(9))
    assert sizes == [8, 4, 2, 2, 2, 2, 1] and size.clips == 2


def test_what_did_not_fit_is_let_go_of_before_the_next_try() -> None:
    tried: list[weakref.ref[torch.Tensor]] = []
    held: list[bool] = []

    class Watched(BatchSize):
        def halve(self) -> None:
            held.append(tried[-1]() is not None)
            super().halve()

    def score(batch: list[int]) -> list[int]:
        states = torch.zeros(len(batch))
        tried.append(weakref.ref(states))
        if len(states) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return batch

    assert in_batches([1] * 8, Watched(8), score) == list(range(8))
    assert held == [False, False]


def test_a_device_that_does_not_hold_one_clip_is_told_about_in_words() -> None:
    def score(_batch: list[int]) -> list[int]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory, match="single"):
        in_batches([1, 1], BatchSize(2), score)
