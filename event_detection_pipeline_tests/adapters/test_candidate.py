"""A training keeps to what it was given: manifest, audio and base model as they were when it began."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from event_detection_pipeline.adapters.candidate import train_candidate
from event_detection_pipeline.adapters.revision import base_revision
from event_detection_pipeline.adapters.whisper import load_whisper
from event_detection_pipeline.clips.manifest import Clip, write_manifest
from event_detection_pipeline.config import EventSettings, Settings, TrainingSettings
from event_detection_pipeline_tests.adapters.conftest import make_whisper
from event_detection_pipeline_tests.adapters.test_evaluate import line
from event_detection_pipeline_tests.random_adapter import CPU

EVENT = EventSettings(name="chime")


@pytest.fixture
def settings(base_model: Path, tmp_path: Path) -> Settings:
    model = make_whisper(tmp_path / "whisper", base_model)
    training = TrainingSettings(epochs=2, batch_size=8)
    return Settings(data_dir=tmp_path / "data", base_model=str(model), events=(EVENT,), training=training)


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return [line(tmp_path, number) for number in range(32)]


class At(logging.Handler):
    """Does something when the training tells this."""

    def __init__(self, message: str, action: Callable[[], object]) -> None:
        super().__init__()
        self._message, self._action = message, action

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self._message):
            self._action()


@pytest.fixture
def when(caplog: pytest.LogCaptureFixture) -> Callable[[str, Callable[[], object]], At]:
    caplog.set_level(logging.INFO, "event_detection_pipeline")
    return At


def train(settings: Settings, manifest: Path, folder: Path, at: At):
    folder.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("event_detection_pipeline")
    logger.addHandler(at)
    try:
        return train_candidate(manifest, folder, EVENT, settings, CPU)
    finally:
        logger.removeHandler(at)


@pytest.mark.parametrize("moment", ["training on", "epoch 1", "epoch 2"])
def test_an_export_that_runs_meanwhile_takes_nothing_from_it(
    settings: Settings, clips: list[Clip], tmp_path: Path, moment: str, when: Callable[..., At]
) -> None:
    manifest = tmp_path / "manifest.jsonl"
    digest = write_manifest(manifest, clips)

    def export() -> None:
        for clip in clips[::4]:  # of each split
            Path(clip.audio).unlink(missing_ok=True)
        write_manifest(manifest, clips[:5])

    candidate = train(settings, manifest, tmp_path / "adapter", when(moment, export))
    assert not Path(clips[0].audio).exists()
    assert candidate.detection.manifest_sha256 == digest
    assert candidate.clips == {"train": 16, "validation": 8, "test": 8} and candidate.unusable == 0
    assert list(settings.checkpoint_dir.iterdir()) == []


def test_a_clip_that_cannot_be_read_is_counted_and_the_rest_is_trained_on(
    settings: Settings, clips: list[Clip], tmp_path: Path, when: Callable[..., At]
) -> None:
    cut = Path(clips[3].audio)
    cut.write_bytes(cut.read_bytes()[:2001])
    clips[20] = replace(clips[20], audio=str(tmp_path / "gone.wav"))
    write_manifest(tmp_path / "manifest.jsonl", clips)
    candidate = train(settings, tmp_path / "manifest.jsonl", tmp_path / "adapter", when("no such message", list))
    assert candidate.clips == {"train": 15, "validation": 7, "test": 8}
    assert candidate.unusable == 2


def test_with_another_base_model_of_the_same_name_a_training_begins_anew(
    settings: Settings, clips: list[Clip], tmp_path: Path, when: Callable[..., At]
) -> None:
    write_manifest(tmp_path / "manifest.jsonl", clips)

    def stop() -> None:
        raise KeyboardInterrupt

    def interrupted() -> set[str]:
        with pytest.raises(KeyboardInterrupt):
            train(settings, tmp_path / "manifest.jsonl", tmp_path / "adapter", when("epoch 2", stop))
        assert not list(settings.checkpoint_dir.glob("*/audio"))
        return {folder.name for folder in settings.checkpoint_dir.iterdir()}

    first = interrupted()
    assert len(first) == 1 and interrupted() == first
    before = base_revision(load_whisper(settings.base_model, CPU))
    weights = Path(settings.base_model) / "model.safetensors"
    save_file({name: value + 0.01 for name, value in load_file(weights).items()}, weights, {"format": "pt"})
    assert base_revision(load_whisper(settings.base_model, CPU)) != before
    assert len(interrupted()) == 2
