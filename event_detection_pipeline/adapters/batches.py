"""Batches of clips of the same padded length, in an order that a seed and the number of the epoch decide."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from event_detection_pipeline.adapters.distributed import ALONE, Processes


class Draw(NamedTuple):
    """A clip as it is heard this time: its index, and which of its augmented copies (0: as it was recorded)."""

    index: int
    copy: int


class BucketBatchSampler(Sampler[list[Draw]]):
    """Draws as many clips as there are, in proportion to their weights; shuffles them inside their bucket, cuts each
    bucket to batches, and shuffles the batches; anew each epoch.

    With equal weights every clip comes exactly once an epoch. No clip is padded to the length of a longer neighbour:
    the encoder's cost is that of the audio. All of training's randomness is here and follows from (seed, epoch), so
    that a training that was interrupted goes on as it would have, and that processes which share a training need not
    tell each other: each draws all batches, and yields its share of each (none of a batch that is too small).

    Args:
        buckets: the padded length of each clip; only clips of the same share a batch.
        weights: how often a clip is drawn, in relation to the others.
        copies: how many augmented copies a clip has besides itself; each is as likely.
        batch_size: of all processes together.
    """

    def __init__(
        self,
        buckets: Sequence[int],
        weights: Sequence[float],
        *,
        copies: int,
        batch_size: int,
        seed: int,
        processes: Processes = ALONE,
    ) -> None:
        self.epoch = 0
        self._copies = copies
        self._batch_size = batch_size
        self._seed = seed
        self._processes = processes
        self._weights = np.asarray(weights, dtype=float)
        share = len(weights) / self._weights.sum()
        members = [np.flatnonzero(np.asarray(buckets) == bucket) for bucket in sorted(set(buckets))]
        # A fixed number for each bucket: every epoch has as many steps as the others.
        self._members = [(one, max(1, round(self._weights[one].sum() * share))) for one in members]

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch, also when it resumes."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(-(-count // self._batch_size) for _, count in self._members)

    def __iter__(self) -> Iterator[list[Draw]]:
        rng = np.random.default_rng((self._seed, self.epoch))
        batches = []
        for members, count in self._members:
            indices = members[drawn(self._weights[members], count, rng)].tolist()
            copies = rng.integers(0, self._copies + 1, count).tolist()
            draws = [Draw(*one) for one in zip(indices, copies, strict=True)]
            batches += [draws[i : i + self._batch_size] for i in range(0, count, self._batch_size)]
        rng.shuffle(batches)
        yield from map(self._processes.share, batches)


def drawn(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` indices of `weights`, shuffled; each about as often as its share of the weights says.

    Systematic resampling (Kitagawa 1996): no index comes one time more or less than its share, so nothing is heard
    often or never by chance alone; with equal weights and as many draws as weights, each comes exactly once.
    """
    order = rng.permutation(len(weights))
    edges = np.cumsum(weights[order] * (count / weights.sum()))
    places = np.searchsorted(edges, np.arange(count) + rng.random(), side="right")
    return rng.permutation(order[np.minimum(places, len(weights) - 1)])
