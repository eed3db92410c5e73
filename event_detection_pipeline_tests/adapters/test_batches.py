"""Batches: each clip once, with clips of its length only, in an order that a seed and the epoch decide."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.adapters.batches import BucketBatchSampler
from event_detection_pipeline.adapters.distributed import ALONE, Processes

BUCKETS = st.lists(st.integers(1, 3), min_size=1, max_size=40)


def batches(
    buckets: Sequence[int], batch_size: int, *, seed: int = 0, epoch: int = 0, processes: Processes = ALONE
) -> list[list[int]]:
    sampler = BucketBatchSampler(buckets, batch_size=batch_size, seed=seed, processes=processes)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


@given(BUCKETS, st.integers(1, 9), st.integers(0, 2**32), st.integers(0, 3))
def test_every_clip_comes_once_with_clips_of_its_length_only(
    buckets: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    found = batches(buckets, batch_size, seed=seed, epoch=epoch)
    assert sorted(index for batch in found for index in batch) == list(range(len(buckets)))
    assert all(len({buckets[index] for index in batch}) == 1 for batch in found)
    for bucket in set(buckets):  # no more steps than there must be
        sizes = [len(batch) for batch in found if buckets[batch[0]] == bucket]
        assert max(sizes) <= batch_size and sum(size < batch_size for size in sizes) <= 1


def test_seed_and_epoch_decide_the_order() -> None:
    def drawn(seed: int, epoch: int) -> list[list[int]]:
        return batches([1, 2] * 20, 2, seed=seed, epoch=epoch)

    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0) != drawn(0, 1) != drawn(1, 1)


def test_clips_change_their_neighbours_and_batches_of_all_lengths_take_turns() -> None:
    buckets = [1] * 20 + [2] * 20
    found = [batches(buckets, 4, epoch=epoch) for epoch in range(2)]
    neighbours = [{frozenset(batch) for batch in epoch} for epoch in found]
    assert neighbours[0] != neighbours[1]
    lengths = [[buckets[batch[0]] for batch in epoch] for epoch in found]
    assert lengths[0] != sorted(lengths[0]) and lengths[0] != lengths[1]


@given(BUCKETS, st.integers(1, 9), st.integers(1, 5), st.integers(0, 3))
def test_processes_share_each_batch_that_one_would_draw(
    buckets: list[int], batch_size: int, count: int, epoch: int
) -> None:
    shares = [batches(buckets, batch_size, epoch=epoch, processes=Processes(rank, count)) for rank in range(count)]
    for whole, *parts in zip(batches(buckets, batch_size, epoch=epoch), *shares, strict=True):
        assert sorted(index for part in parts for index in part) == sorted(whole)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
