"""Batches: who is drawn how often, with whom, and that a seed decides it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.adapters.batches import BucketBatchSampler, Draw, drawn
from event_detection_pipeline.adapters.distributed import Processes


def batches_of(sampler: BucketBatchSampler, epoch: int) -> list[list[Draw]]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_clip_comes_once_with_clips_of_its_length_only() -> None:
    buckets = [1, 2, 1, 3, 2, 1, 1, 1]
    sampler = BucketBatchSampler(buckets, [1.0] * 8, copies=0, batch_size=2, seed=0)
    for epoch in (0, 1):
        batches = batches_of(sampler, epoch)
        assert len(batches) == len(sampler)
        assert sorted(draw.index for batch in batches for draw in batch) == list(range(len(buckets)))
        assert all(len({buckets[draw.index] for draw in batch}) == 1 for batch in batches)
    assert batches_of(sampler, 0) != batches_of(sampler, 1)
    assert batches_of(sampler, 0) == batches_of(sampler, 0)


def test_clips_are_drawn_in_proportion_to_their_weights() -> None:
    weights = [3.0] * 5 + [1.0] * 15
    sampler = BucketBatchSampler([1] * 20, weights, copies=0, batch_size=4, seed=1)
    drawn_heavy = [draw.index < 5 for epoch in range(100) for batch in batches_of(sampler, epoch) for draw in batch]
    assert np.mean(drawn_heavy) == pytest.approx(0.5, abs=0.01)


def test_every_epoch_has_as_many_steps_whatever_the_weights() -> None:
    rng = np.random.default_rng(0)
    buckets, weights = rng.integers(0, 4, 50).tolist(), rng.uniform(0.1, 5, 50).tolist()
    sampler = BucketBatchSampler(buckets, weights, copies=2, batch_size=3, seed=0)
    assert {len(batches_of(sampler, epoch)) for epoch in range(20)} == {len(sampler)}


def test_a_clip_and_its_copies_are_as_likely() -> None:
    sampler = BucketBatchSampler([1] * 100, [1.0] * 100, copies=2, batch_size=8, seed=0)
    copies = [draw.copy for epoch in range(20) for batch in batches_of(sampler, epoch) for draw in batch]
    assert np.bincount(copies) / len(copies) == pytest.approx([1 / 3] * 3, abs=0.03)


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=40), st.integers(1, 60), st.integers(0, 2**32))
def test_nothing_is_drawn_one_time_more_or_less_than_its_share(weights: list[float], count: int, seed: int) -> None:
    shares = np.array(weights) * count / sum(weights)
    found = np.bincount(drawn(np.array(weights), count, np.random.default_rng(seed)), minlength=len(weights))
    assert found.sum() == count
    assert (np.abs(found - shares) < 1 + 1e-9).all()


@given(
    st.lists(st.tuples(st.integers(1, 3), st.floats(0.1, 10.0)), min_size=1, max_size=40),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_processes_share_each_batch_that_one_would_draw(
    clips: list[tuple[int, float]], batch_size: int, count: int, epoch: int
) -> None:
    buckets, weights = [bucket for bucket, _ in clips], [weight for _, weight in clips]

    def batches(processes: Processes) -> list[list[Draw]]:
        sampler = BucketBatchSampler(buckets, weights, copies=1, batch_size=batch_size, seed=0, processes=processes)
        return batches_of(sampler, epoch)

    shares = [batches(Processes(rank, count)) for rank in range(count)]
    for whole, *parts in zip(batches(Processes()), *shares, strict=True):
        assert sorted(draw for part in parts for draw in part) == sorted(whole)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
