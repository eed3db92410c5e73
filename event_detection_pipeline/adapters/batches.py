"""Batches of clips of the same padded length, in an order that a seed and the number of the epoch decide."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from event_detection_pipeline.adapters.distributed import ALONE, Processes


class BucketBatchSampler(Sampler[list[int]]):
    """Indices of clips, each exactly once an epoch: shuffled inside their bucket, cut to batches, and those shuffled.

    No clip is padded to the length of a longer neighbour: the encoder's cost is that of the audio. The order follows
    from (seed, epoch) alone, so that a training that was interrupted goes on as it would have, and that processes which
    share a training need not tell each other: each makes all batches, and yields its share of each (none of a batch
    that is too small).

    Args:
        buckets: the padded length of each clip; only clips of the same share a batch.
        batch_size: of all processes together.
    """

    def __init__(self, buckets: Sequence[int], *, batch_size: int, seed: int, processes: Processes = ALONE) -> None:
        self.epoch = 0
        self._members = [np.flatnonzero(np.asarray(buckets) == bucket) for bucket in sorted(set(buckets))]
        self._batch_size = batch_size
        self._seed = seed
        self._processes = processes

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch, also when it resumes."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(-(-len(members) // self._batch_size) for members in self._members)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self._seed, self.epoch))
        batches = []
        for members in self._members:
            indices = rng.permutation(members).tolist()
            batches += [indices[i : i + self._batch_size] for i in range(0, len(indices), self._batch_size)]
        rng.shuffle(batches)
        yield from map(self._processes.share, batches)
