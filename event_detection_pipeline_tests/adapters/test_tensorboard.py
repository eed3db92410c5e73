"""TensorBoard's event files are written where it is installed, and missed with a word where it is not."""

import importlib.util
import logging
from pathlib import Path

import pytest

from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.marker import marker_of
from event_detection_pipeline.adapters.train import Workplace, train_adapter
from event_detection_pipeline.adapters.whisper import load_whisper
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline_tests.random_adapter import CPU


def test_a_training_writes_its_curves(
    tiny_model: Path, examples: list[Example], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whisper = load_whisper(str(tiny_model), CPU)
    with caplog.at_level(logging.WARNING):
        train_adapter(
            whisper,
            marker_of(whisper.tokenizer, "CHIME_DETECTED"),
            examples[:4],
            examples[4:8],
            lora=LoraSettings(),
            settings=TrainingSettings(epochs=1),
            workplace=Workplace(tmp_path / "checkpoints", tmp_path / "states", tmp_path / "tensorboard"),
        )
    if importlib.util.find_spec("tensorboard") is None:
        assert "pip install tensorboard" in caplog.text
    else:
        (events,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
        assert b"eval/average_precision" in events.read_bytes()
