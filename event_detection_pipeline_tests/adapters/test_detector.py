"""A detector of several adapters: what each of them alone would hear, with the layers below them run once."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from event_detection_pipeline.adapters.batch_size import BatchSize, in_batches
from event_detection_pipeline.adapters.detector import Detector, load_detectors, lowest_adapted_layer
from event_detection_pipeline.adapters.revision import base_revision
from event_detection_pipeline.adapters.seal import seal
from event_detection_pipeline.adapters.whisper import load_whisper
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline_tests.random_adapter import CPU, random_adapter

WORDS = [["good", "morning"], [], ["somebody", "is", "at", "the", "door"]]
CLIPS = [np.random.default_rng(seed).normal(0, 0.1, 2 * SAMPLE_RATE).astype(np.float32) for seed in range(3)]


@pytest.fixture(scope="module")
def folders(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    store = tmp_path_factory.mktemp("adapters")
    return [
        random_adapter(store / "chime_v1", base_model, seed=1, first_layer=2),
        random_adapter(store / "sneeze_v3", base_model, seed=2, first_layer=1),
        random_adapter(store / "knock_v2", base_model, seed=3, part="decoder"),
    ]


def only(folders: list[Path]) -> Detector:
    (detector,) = load_detectors(folders, CPU)
    return detector


def test_several_adapters_at_once_score_exactly_what_each_scores_alone(folders: list[Path]) -> None:
    together = only(folders).score(CLIPS, WORDS)
    assert list(together) == ["chime_v1", "sneeze_v3", "knock_v2"]
    for folder in folders:
        alone = only([folder]).score(CLIPS, WORDS)
        assert alone == {folder.name: together[folder.name]}
    scores = [[one.score for one in found] for found in together.values()]
    assert not np.allclose(scores[0], scores[1])


def test_a_probe_deeper_than_where_another_events_adapter_begins_hears_the_bare_model(
    base_model: Path, tmp_path: Path
) -> None:
    folders = [
        random_adapter(tmp_path / "sneeze_v1", base_model, seed=1, first_layer=1, probe_depth=1),
        random_adapter(tmp_path / "chime_v1", base_model, seed=2, first_layer=3, probe_depth=3),
    ]
    detector = only(folders)
    for _ in range(2):  # which adapter was in the model before makes no difference
        together = detector.score(CLIPS, WORDS)
        for folder in folders:
            assert only([folder]).score(CLIPS, WORDS) == {folder.name: together[folder.name]}
    scores = [one.score for found in together.values() for one in found]
    assert all(0.01 < score < 0.99 for score in scores) and len(set(scores)) == len(scores)


def test_several_threads_hear_what_one_hears(folders: list[Path]) -> None:
    detector = only(folders)
    clips, words, alone = CLIPS * 4, WORDS * 4, detector.score(CLIPS[:1], WORDS[:1])
    size = BatchSize(1, threads=4)
    with detector.bare():
        sketches = in_batches([1] * 12, size, lambda batch: detector.sketch([clips[index] for index in batch]))
    for adapter in detector.adapters:
        with detector.adapted(adapter):
            heard = in_batches(
                [1] * 12,
                size,
                lambda batch, adapter=adapter: detector.hear(
                    adapter, [sketches[index] for index in batch], [words[index] for index in batch]
                ),
            )
        assert heard[:3] * 4 == heard
        assert heard[:1] == alone[adapter.name]


def test_what_no_adapter_changes_runs_once_for_all_of_them(folders: list[Path]) -> None:
    detector = only(folders)
    runs = [0] * 4
    for number, layer in enumerate(detector.whisper.model.trimmed_encoder.layers):

        def count(*_: object, number: int = number) -> None:
            runs[number] += 1

        layer.register_forward_hook(count)
    detector.score(CLIPS, WORDS)
    assert runs == [1, 3, 3, 3]


def test_an_adapter_of_the_decoder_leaves_the_whole_encoder_shared(folders: list[Path]) -> None:
    assert lowest_adapted_layer(only(folders[:1]).whisper) == 2
    assert lowest_adapted_layer(only(folders[2:]).whisper) == 4


def test_after_an_error_the_detector_still_listens(folders: list[Path]) -> None:
    detector = only(folders)
    with pytest.raises((ValueError, RuntimeError)):
        detector.score(CLIPS, WORDS[:2])
    assert detector.whisper.model.trimmed_encoder.first_layer is None
    with torch.inference_mode():
        assert isinstance(detector.transcribe(CLIPS[0]), list)


def test_on_the_cpu_nothing_is_loaded_to_a_card(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peft.peft_model.infer_device", lambda: "cuda")  # as on a machine with a card
    assert len(only(folders).adapters) == 3


def test_memory_that_runs_out_is_not_said_to_be_the_adapters_fault(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("peft.peft_model.load_peft_weights", full)
    with pytest.raises(torch.OutOfMemoryError):
        load_detectors(folders, CPU)


def test_another_base_model_of_the_same_name_is_told_of(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = Path(shutil.copytree(tiny_model, tmp_path / "whisper"))
    adapter = random_adapter(tmp_path / "chime_v1", base, first_layer=1)
    described = json.loads((adapter / "detection.json").read_text())
    described["base_model_revision"] = base_revision(load_whisper(str(base), CPU))
    (adapter / "detection.json").write_text(json.dumps(described))
    seal(adapter)
    with caplog.at_level(logging.WARNING, "event_detection_pipeline"):
        load_detectors([adapter], CPU)
        assert not caplog.messages
        weights = base / "model.safetensors"
        save_file({name: value + 0.01 for name, value in load_file(weights).items()}, weights, {"format": "pt"})
        load_detectors([adapter], CPU)
    (told,) = caplog.messages
    assert str(adapter) in told and described["base_model_revision"] in told
