"""The batch size: how many clips are scored at once, and fewer when memory turns out not to hold them."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import Any, TypeVar

import torch
from transformers import WhisperConfig

from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.errors import PipelineError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# On a CPU: with fewer, weights are packed for the multiplication too often; with more, what a layer makes of the clips
# leaves the caches and is new memory each time (docs/decisions.md).
CPU_CLIPS = 4
# Batches at a time on a CPU, each on its share of the cores. More would take more memory, and groups to fill them.
CPU_BATCHES = 4
# On a card: so many clips of 12 s keep the largest one busy, and more would have to wait decoded.
MAX_CARD_CLIPS = 32
# Of a card's free memory: the rest is for what the allocator cannot use again at once, and for others on the card.
USED_SHARE = 0.5
# The widest moment of an encoder layer, in multiples of d_model: residual and normalised states, the feed-forward's
# four before and four after GELU, and the states that several events share.
ENCODER_WIDTH = 11


class OutOfMemory(PipelineError):
    """The device's memory does not hold a single clip, or (`when`) something else that cannot go in parts."""

    def __init__(self, when: str = "with a single clip at a time") -> None:
        super().__init__(
            f"the device ran out of memory {when}: close what else uses the card, work on the CPU "
            '(device = "cpu"), or train on a smaller base_model such as openai/whisper-small; a training also needs '
            'less with fewer adapted layers (lora.adapt_from_layer, lora.part = "encoder")'
        )


class BatchSize:
    """How many clips are scored at once: at first as given, until the device's memory turns out not to hold so many.

    Args:
        threads: how many batches are in work at a time; on a card one keeps it busy.
    """

    def __init__(self, clips: int, threads: int = 1) -> None:
        self.clips = clips
        self.threads = threads

    def halve(self) -> None:
        """Raises OutOfMemory where there is nothing to halve."""
        if self.clips == 1:
            raise OutOfMemory
        logger.warning("out of memory with %d clips at once: going on with %d", self.clips, self.clips // 2)
        self.clips //= 2
        torch.cuda.empty_cache()


def clips_at_once(whisper: Whisper) -> int:
    """How many clips to score at once on the device that the model is on."""
    device = whisper.compute.device
    if device.type != "cuda":
        return CPU_CLIPS
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, for what comes next
    return clips_that_fit(free + kept, whisper.model.config, whisper.compute.dtype)


def batches_at_once(whisper: Whisper) -> int:
    """How many batches to score at a time on the device that the model is on."""
    return 1 if whisper.compute.device.type == "cuda" else min(torch.get_num_threads(), CPU_BATCHES)


def clips_that_fit(free: int, config: WhisperConfig, dtype: torch.dtype) -> int:
    """How many clips of 30 s a card scores at once that has `free` bytes beside the model; at least 1, whatever fits.

    `free * USED_SHARE / (bytes of a number * (frames * ENCODER_WIDTH * d_model + tokens * vocabulary))`: a clip takes
    the widest moment of an encoder layer (1500 frames), then the logits of a full transcript (448 tokens). With
    large-v3 in bfloat16 that is 89 MB.
    """
    encoder = config.max_source_positions * ENCODER_WIDTH * config.d_model
    logits = config.max_target_positions * config.vocab_size
    fitting = int(free * USED_SHARE / (dtype.itemsize * (encoder + logits)))
    return min(max(fitting, 1), MAX_CARD_CLIPS)


def in_batches(buckets: Sequence[int], size: BatchSize, score: Callable[[list[int]], Sequence[Result]]) -> list[Result]:
    """What `score` makes of each clip, in the clips' order.

    Args:
        buckets: the padded length of each clip.
        score: is given the indices of clips of one bucket, and gives one result for each; called by `size.threads`
            threads at once.

    Raises:
        OutOfMemory.
    """
    # The longest first: one that comes last would leave the other threads waiting.
    order = sorted(range(len(buckets)), key=lambda index: -buckets[index])
    of_one_bucket = [list(group) for _, group in groupby(order, key=lambda index: buckets[index])]
    batches = [clips[at : at + size.clips] for clips in of_one_bucket for at in range(0, len(clips), size.clips)]

    def fitting(batch: list[int]) -> list[Result]:
        results: list[Result] = []
        while len(results) < len(batch):
            at_once = size.clips
            with suppress(torch.OutOfMemoryError):
                results += score(batch[len(results) : len(results) + at_once])
                continue
            # Outside of the block: the exception holds on to what is to be freed.
            if size.clips == at_once:  # else another thread has halved it
                size.halve()
        return results

    with _mapping(size.threads) as each:
        found = {
            index: result
            for batch, results in zip(batches, each(fitting, batches), strict=True)
            for index, result in zip(batch, results, strict=True)
        }
    return [found[index] for index in range(len(buckets))]


@contextmanager
def _mapping(threads: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map` in so many threads, that share the cores. A batch for each takes less time than one batch for all of them:
    there they wait for one another at every step."""
    if threads == 1:
        yield map
        return
    cores = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, "listen", torch.set_num_threads, (max(cores // threads, 1),)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(cores)  # what a thread sets is also the default of those to come
