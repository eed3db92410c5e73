"""The probe: what a linear detector on the frozen encoder knows, and that it is the same after it was stored."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.probe import Probe, joined, load_probe, pooled_states, save_probe, train_probe
from event_detection_pipeline.adapters.seal import BrokenAdapter
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.config import EvaluationSettings

DEPTH = 2


@pytest.fixture(scope="module")
def probe(whisper: Whisper, examples: list[Example]) -> Probe:
    return train_probe(whisper, examples[:12], examples[12:18], DEPTH, EvaluationSettings())


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
    assert together.shape == (3, DEPTH * 3 * whisper.model.config.d_model)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together[2], alone[0], rtol=0.05, atol=0.05)  # bfloat16 where the CPU has it


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


@given(st.floats(0, 1), st.floats(0, 1))
def test_together_they_are_between_what_each_says(adapter: float, probe: float) -> None:
    (together,) = joined([adapter], [probe])
    assert min(adapter, probe) - 1e-9 <= together <= max(adapter, probe) + 1e-9
    assert joined([probe], [adapter]) == [together]


def test_a_sure_adapter_outweighs_an_undecided_probe() -> None:
    assert joined([0.999, 0.001], [0.5, 0.5]) == pytest.approx([0.9693, 0.0307], abs=1e-3)
