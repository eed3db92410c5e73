"""Batches of clips of the same padded length, in an order that a seed decides."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


class BucketBatchSampler(Sampler[list[int]]):
    """Shuffles clips inside their bucket, cuts each bucket to batches, and shuffles the batches; anew each epoch.

    No clip is padded to the length of a longer neighbour: the encoder's cost is that of the audio.
    """

    def __init__(self, buckets: Sequence[int], batch_size: int, seed: int) -> None:
        self.epoch = 0
        self._seed = seed
        self._batch_size = batch_size
        self._members = [
            np.array([i for i, bucket in enumerate(buckets) if bucket == one]) for one in sorted(set(buckets))
        ]

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch, also when it resumes in the middle."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(-(-len(members) // self._batch_size) for members in self._members)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self._seed, self.epoch))
        batches = []
        for members in self._members:
            shuffled = rng.permutation(members).tolist()
            batches += [shuffled[i : i + self._batch_size] for i in range(0, len(shuffled), self._batch_size)]
        rng.shuffle(batches)
        yield from batches
