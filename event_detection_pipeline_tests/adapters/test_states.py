"""Encoder states are computed once, for this training and for the next, in a folder that does not grow for ever."""

import os
from pathlib import Path

import pytest
import torch

from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.distributed import Processes
from event_detection_pipeline.adapters.examples import Example, read_wav
from event_detection_pipeline.adapters.marker import marker_of
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.train import Workplace, train_adapter
from event_detection_pipeline.adapters.whisper import Whisper, load_whisper
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline_tests.random_adapter import CPU

LAYER = 1
MUCH = 10**9  # bytes


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Whisper:
    return load_whisper(str(tiny_model), CPU)


def test_states_are_those_the_encoder_computes(tiny: Whisper, examples: list[Example], tmp_path: Path) -> None:
    encoder = tiny.model.trimmed_encoder
    cache = StateCache(tiny, LAYER, tmp_path, MUCH)
    features = tiny.features([read_wav(example.audio) for example in examples[:3]])
    with torch.inference_mode():
        expected = encoder.states(features, LAYER)
    for _ in range(2):  # computed, and read again
        torch.testing.assert_close(cache(examples[:3]), expected, rtol=1e-3, atol=1e-3)  # float16 on disk


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_beyond_float16_stay_numbers(
    tiny_model: Path, examples: list[Example], tmp_path: Path, dtype: torch.dtype
) -> None:
    whisper = load_whisper(str(tiny_model), Compute(torch.device("cpu"), dtype))
    with torch.no_grad():
        whisper.model.trimmed_encoder.embed_positions.weight[:, 0] = 1e6
        whisper.model.trimmed_encoder.embed_positions.weight[:, 1] = -1e6
    cache = StateCache(whisper, LAYER, tmp_path, MUCH)
    for _ in range(2):  # computed, and read again
        states = cache(examples[:2])
        assert states[..., 0].min() == torch.tensor(65504.0, dtype=dtype)
        assert states[..., 1].max() == torch.tensor(-65504.0, dtype=dtype)
        assert states.isfinite().all()


def test_a_second_training_computes_nothing_again(
    tiny_model: Path, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches: list[StateCache] = []
    begin = StateCache.__init__

    def watched(self: StateCache, *arguments: object) -> None:
        begin(self, *arguments)  # pyright: ignore[reportArgumentType]
        caches.append(self)

    monkeypatch.setattr(StateCache, "__init__", watched)
    for number in range(2):
        whisper = load_whisper(str(tiny_model), CPU)
        train_adapter(
            whisper,
            marker_of(whisper.tokenizer, "CHIME_DETECTED"),
            examples[:8],
            examples[8:12],
            lora=LoraSettings(),
            settings=TrainingSettings(epochs=2),
            workplace=Workplace(tmp_path / f"checkpoints-{number}", tmp_path / "states"),
        )
    assert [cache.computed for cache in caches] == [12, 0]


def test_other_weights_and_layers_are_other_states(
    tiny: Whisper, tiny_model: Path, examples: list[Example], tmp_path: Path
) -> None:
    StateCache(tiny, LAYER, tmp_path, MUCH)(examples[:2])
    other_layer = StateCache(tiny, LAYER + 1, tmp_path, MUCH)
    other_layer(examples[:2])
    assert other_layer.computed == 2
    changed = load_whisper(str(tiny_model), tiny.compute)
    with torch.no_grad():
        changed.model.trimmed_encoder.conv1.weight[0, 0, 0] += 1
    other_weights = StateCache(changed, LAYER, tmp_path, MUCH)
    other_weights(examples[:2])
    assert other_weights.computed == 2


@pytest.mark.parametrize("left", [0, 40, 200])
def test_a_file_that_was_cut_short_is_computed_again(
    tiny: Whisper, examples: list[Example], tmp_path: Path, left: int
) -> None:
    expected = StateCache(tiny, LAYER, tmp_path, MUCH)(examples[:1])
    (file,) = tmp_path.iterdir()
    os.truncate(file, left)
    cache = StateCache(tiny, LAYER, tmp_path, MUCH)
    torch.testing.assert_close(cache(examples[:1]), expected, rtol=1e-3, atol=1e-3)
    assert cache.computed == 1


def test_what_was_used_longest_ago_makes_room(tiny: Whisper, examples: list[Example], tmp_path: Path) -> None:
    filling = StateCache(tiny, LAYER, tmp_path, MUCH)
    for number, example in enumerate(examples[:4]):
        before = set(tmp_path.iterdir())
        filling([example])
        (new,) = set(tmp_path.iterdir()) - before
        os.utime(new, (number, number))
    size = new.stat().st_size
    StateCache(tiny, LAYER, tmp_path, MUCH)(examples[:1])  # the oldest is used again
    StateCache(tiny, LAYER, tmp_path, 4 * size)(examples[4:6])
    assert len(list(tmp_path.iterdir())) == 4
    last = StateCache(tiny, LAYER, tmp_path, 4 * size)
    last([examples[0], *examples[3:6]])
    assert last.computed == 0


def test_what_is_needed_now_does_not_make_room(tiny: Whisper, examples: list[Example], tmp_path: Path) -> None:
    StateCache(tiny, LAYER, tmp_path, MUCH)(examples[:4])
    size = next(tmp_path.iterdir()).stat().st_size
    full = StateCache(tiny, LAYER, tmp_path, 4 * size, examples[:5])
    for number in (4, 0, 1, 2, 3):  # the one that is not there yet comes first
        full(examples[number : number + 1])
    assert full.computed == 1


def test_processes_share_the_room_and_what_makes_more(tiny: Whisper, examples: list[Example], tmp_path: Path) -> None:
    StateCache(tiny, LAYER, tmp_path, MUCH)(examples[:4])
    size = next(tmp_path.iterdir()).stat().st_size
    caches = [StateCache(tiny, LAYER, tmp_path, 4 * size, processes=Processes(rank, 2)) for rank in range(2)]
    for rank, cache in enumerate(caches):
        cache(examples[4 + 2 * rank : 6 + 2 * rank])
    assert len(list(tmp_path.iterdir())) == 4
    later = StateCache(tiny, LAYER, tmp_path, MUCH)
    later(examples[4:8])
    assert later.computed == 0


def test_states_that_find_no_room_are_computed_each_time(
    tiny: Whisper, examples: list[Example], tmp_path: Path
) -> None:
    whole = StateCache(tiny, LAYER, tmp_path / "whole", MUCH)
    expected = whole(examples[:5])
    size = next((tmp_path / "whole").iterdir()).stat().st_size
    small = StateCache(tiny, LAYER, tmp_path / "small", 3 * size)
    for _ in range(2):
        torch.testing.assert_close(small(examples[:5]), expected, rtol=1e-3, atol=1e-3)
    assert small.computed == 5 + 2
    assert len(list((tmp_path / "small").iterdir())) == 3


def test_states_do_not_depend_on_what_else_was_missing(tiny: Whisper, examples: list[Example], tmp_path: Path) -> None:
    together = StateCache(tiny, LAYER, tmp_path / "together", MUCH)(examples[:5])
    partly = StateCache(tiny, LAYER, tmp_path / "partly", MUCH)
    partly(examples[1:3])
    assert torch.equal(partly(examples[:5]), together)


def test_where_nothing_can_be_written_nothing_is_kept(
    tiny: Whisper, examples: list[Example], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = StateCache(tiny, LAYER, tmp_path / "states", MUCH)
    (tmp_path / "states").rmdir()
    assert torch.equal(cache(examples[:2]), cache(examples[:2]))
    assert "not kept" in caplog.text
