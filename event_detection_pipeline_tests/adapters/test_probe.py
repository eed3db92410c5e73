"""The probe: what a linear detector on the frozen encoder knows, and that it is the same after it was stored."""

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.adapters import probe as module
from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.probe import (
    FIRST_WINDOWS,
    PARTS,
    ROUNDS,
    Pools,
    Probe,
    fit,
    joined,
    load_probe,
    pooled_states,
    save_probe,
    train_probe,
)
from event_detection_pipeline.adapters.seal import BrokenAdapter
from event_detection_pipeline.adapters.threshold import log_odds
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.clips.splits import Split
from event_detection_pipeline.config import SAMPLE_RATE, EvaluationSettings

DEPTH = 2


@pytest.fixture(scope="module")
def probe(whisper: Whisper, examples: list[Example]) -> Probe:
    splits: dict[Split, list[Example]] = {"train": examples[:12], "validation": examples[12:18]}
    pooled: dict[Split, list[np.ndarray]] = {
        "train": pooled_states(whisper, examples[:12], DEPTH),
        "validation": pooled_states(whisper, examples[12:18], DEPTH),
    }
    return train_probe(pooled, splits, DEPTH, EvaluationSettings())


def test_it_tells_unheard_clips_apart(probe: Probe, whisper: Whisper, examples: list[Example]) -> None:
    scores = probe.scores(pooled_states(whisper, examples[18:], DEPTH))
    flags = [score >= probe.threshold for score in scores]
    assert flags == [example.contains_event for example in examples[18:]]


def test_its_threshold_comes_from_validation(probe: Probe, whisper: Whisper, examples: list[Example]) -> None:
    scores = probe.scores(pooled_states(whisper, examples[12:18], DEPTH))
    quietest = min(score for score, one in zip(scores, examples[12:18], strict=True) if one.contains_event)
    loudest = max(score for score, one in zip(scores, examples[12:18], strict=True) if not one.contains_event)
    assert loudest < probe.threshold <= quietest


def test_states_do_not_depend_on_the_neighbours_in_a_batch(whisper: Whisper, examples: list[Example]) -> None:
    together, alone = pooled_states(whisper, examples[:3], DEPTH), pooled_states(whisper, examples[2:3], DEPTH)
    assert together[2].shape == alone[0].shape == (21, whisper.model.config.d_model)  # 0.4 s, every 0.1 s of 2.4 s
    assert together[2].dtype == np.float32
    np.testing.assert_allclose(together[2], alone[0], rtol=0.05, atol=0.05)  # bfloat16 where the CPU has it


def test_padding_is_not_heard_but_by_a_clip_shorter_than_a_window() -> None:
    pools = Pools([round(2.4 * SAMPLE_RATE), SAMPLE_RATE // 2], [1])
    states = torch.ones(2, 125, 4)
    states[0, 120:] = 9.0
    pools.add(0, states + 1)  # no probe asks for it
    pools.add(1, states)
    long, short = pools.features(1)
    assert (long == 1.0).all()
    assert len(short) == 13  # 1.6 s, one window


def strokes(rng: np.random.Generator, *, event: bool, said: bool) -> tuple[np.ndarray, Example, float]:
    """Pooled states of a clip of 6 s with two strokes somewhere in it, the high one first (the event) or last; its
    example, which says when the event was or does not; when they were."""
    clip = rng.normal(0, 0.3, (57, 8)).astype(np.float32)
    start = int(rng.integers(0, 45))
    high, low = (start, start + 6) if event else (start + 6, start)
    clip[high : high + 6, 0] += 2
    clip[low : low + 6, 1] += 2
    time = start * 0.1 + 0.8
    return clip, Example(Path(), (), (0,) if event else (), 96000, "", time if event and said else None), time


def test_a_sound_and_its_reverse_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    clips, examples, times = zip(*(strokes(rng, event=n % 2 == 0, said=True) for n in range(80)), strict=True)
    probe = fit(clips[:40], examples[:40], DEPTH)
    right = [(score > 0.5) == one.contains_event for score, one in zip(probe.scores(clips), examples, strict=True)]
    assert np.mean(right[40:]) > 0.9
    assert median_error(probe, clips[40::2], times[40::2]) < 0.3


def test_an_event_is_found_where_nobody_said_when_it_was() -> None:
    rng = np.random.default_rng(0)
    clips, examples, times = zip(*(strokes(rng, event=True, said=False) for _ in range(40)), strict=True)
    silence = [rng.normal(0, 0.3, (57, 8)).astype(np.float32) for _ in range(40)]
    nothing = [Example(Path(), (), (), 96000, "")] * 20
    probe = fit([*clips[:20], *silence[:20]], [*examples[:20], *nothing], DEPTH)
    assert np.mean(np.array(probe.scores(clips[20:])) > 0.5) > 0.9
    assert np.mean(np.array(probe.scores(silence[20:])) < 0.5) > 0.9
    assert median_error(probe, clips[20:], times[20:]) < 0.6


def test_many_clips_are_learned_from_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    clips, examples, _ = zip(*(strokes(rng, event=n % 2 == 0, said=True) for n in range(80)), strict=True)
    wide = [np.tile(clip, (1, 16)) for clip in clips]
    window = PARTS * wide[0].shape[1] * wide[0].itemsize

    def peak() -> float:
        """In windows."""
        tracemalloc.start()
        probe = fit(wide[:48], examples[:48], DEPTH)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        right = [(score > 0.5) == one.contains_event for score, one in zip(probe.scores(wide), examples, strict=True)]
        assert np.mean(right[48:]) > 0.9
        return most / window

    assert peak() < 2.5 * 48 * FIRST_WINDOWS  # the windows, and one working copy
    monkeypatch.setattr(module, "MAX_FIRST_WINDOWS", 144)
    assert peak() < 2.5 * (144 + 48 * ROUNDS)


def median_error(probe: Probe, clips: Sequence[np.ndarray], times: Sequence[float]) -> float:
    """Seconds between the middle of the loudest window and the known time."""
    return float(np.median(np.abs(np.subtract([said.time for said in probe.listen(clips)], times))))


def test_one_event_is_enough_to_fit(whisper: Whisper, examples: list[Example]) -> None:
    probe = fit(pooled_states(whisper, examples[:2], DEPTH), examples[:2], DEPTH)
    event, other = probe.scores(pooled_states(whisper, examples[:2], DEPTH))
    assert event > other


def test_a_stored_probe_scores_as_before(
    probe: Probe, whisper: Whisper, examples: list[Example], tmp_path: Path
) -> None:
    save_probe(tmp_path / "probe.safetensors", probe)
    stored = load_probe(tmp_path / "probe.safetensors")
    assert stored is not None
    features = pooled_states(whisper, examples[:4], stored.depth)
    assert stored.scores(features) == pytest.approx(probe.scores(features))
    assert (stored.threshold, stored.depth) == (probe.threshold, DEPTH)
    assert (tmp_path / "probe.safetensors").stat().st_size < 100_000


def test_a_folder_without_a_probe_has_none_and_a_broken_file_is_named(tmp_path: Path) -> None:
    assert load_probe(tmp_path / "probe.safetensors") is None
    (tmp_path / "probe.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BrokenAdapter, match=r"probe\.safetensors"):
        load_probe(tmp_path / "probe.safetensors")


def test_a_probe_that_weighed_whole_clips_is_refused(tmp_path: Path) -> None:
    save_probe(tmp_path / "probe.safetensors", Probe(np.zeros(2304, np.float32), 0.0, 0.5, 2))
    with pytest.raises(BrokenAdapter, match="another version of this package; train the adapter again"):
        load_probe(tmp_path / "probe.safetensors")


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_surer_either_is_the_surer_are_both_together(low: float, high: float, other: float) -> None:
    low, high = sorted((low, high))
    assert joined([low], [other]) <= joined([high], [other])
    assert joined([other], [low]) <= joined([other], [high])


@given(st.floats(0, 1), st.floats(1e-6, 1 - 1e-6))
def test_an_adapter_can_change_only_so_much(adapter: float, probe: float) -> None:
    (together,) = joined([adapter], [probe])
    assert abs(log_odds(together) - 0.8 * log_odds(probe)) <= 0.6 + 1e-6


def test_the_probe_outweighs_the_adapter() -> None:
    assert joined([0.9, 0.5], [0.1, 0.5]) == pytest.approx([0.2111, 0.5], abs=1e-4)
