"""What the doctor finds, and what it advises."""

import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr
from transformers import WhisperForConditionalGeneration

from event_detection_pipeline.adapters.whisper import load_whisper
from event_detection_pipeline.config import Settings
from event_detection_pipeline.doctor import Finding, _base_model, examine
from event_detection_pipeline_tests.adapters.conftest import make_whisper
from event_detection_pipeline_tests.random_adapter import CPU


@pytest.fixture
def folder(base_model: Path, tmp_path: Path) -> Path:
    return make_whisper(tmp_path / "whisper", base_model)


def found(folder: Path) -> Finding:
    return _base_model(Settings(data_dir=folder.parent / "data", base_model=str(folder)))


def test_a_base_model_in_several_files_is_whole(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    shutil.copy(folder / "config.json", folder.parent)
    WhisperForConditionalGeneration.from_pretrained(str(folder.parent)).save_pretrained(folder, max_shard_size="2MB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    load_whisper(str(folder), CPU)
    assert found(folder).ok


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"])
def test_a_file_that_a_base_model_lacks_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    finding = found(folder)
    assert not finding.ok and name in finding.advice


def test_a_mongodb_that_is_away_is_told_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, mongodb_uri=SecretStr("mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=100"))
    failed = [one for one in examine(settings) if not one.ok and "MongoDB" in one.advice]
    assert [one.check for one in failed] == ["MongoDB"]
