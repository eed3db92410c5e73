"""`train`, as a person (or a crontab line of the original scripts) types it."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from event_detection_pipeline.adapters.release import read_detection
from event_detection_pipeline.adapters.seal import verify
from event_detection_pipeline.cli.main import app, main
from event_detection_pipeline.clips.manifest import write_manifest
from event_detection_pipeline.config import CONFIG_ENV
from event_detection_pipeline_tests.adapters.conftest import make_whisper
from event_detection_pipeline_tests.adapters.test_evaluate import line

CONFIG = """\
data_dir = "{data}"
base_model = "a model that is not there"
device = "cpu"
[[events]]
name = "chime"
source_tag = "<bell>"
[training]
epochs = 1
marker_weight = 7.5
weight_decay = 0.03
"""


@pytest.fixture(scope="module")
def adapter(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the original script's command line fills: trained on 16 clips, three at a time."""
    folder = tmp_path_factory.mktemp("training")
    make_whisper(folder / "whisper", base_model)
    write_manifest(folder / "manifest.jsonl", [line(folder, number) for number in range(32)])
    (folder / "elsewhere").mkdir()
    (folder / "adapter").symlink_to("elsewhere")
    (folder / "event_detection.toml").write_text(CONFIG.format(data=(folder / "data").as_posix()))
    options = {
        "train_manifest": folder / "manifest.jsonl",
        "output_dir": folder / "adapter",
        "base_model": folder / "whisper",
        "source_tag": "<chime>",
        "target_token": "DING",
        "batch_size": 3,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(app, ["train", *words], env={CONFIG_ENV: str(folder / "event_detection.toml")})
    assert result.exit_code == 0, result.output
    return folder / "adapter"


def test_train_takes_the_original_options_and_fills_the_folder(adapter: Path) -> None:
    verify(adapter)
    detection = read_detection(adapter)
    assert (detection.source_tag, detection.target_token) == ("<chime>", "DING")
    assert detection.base_model == str(adapter.parent / "whisper")
    figures = json.loads((adapter / "metrics.json").read_text())
    assert figures["clips"] == {"train": 16, "validation": 8, "test": 8}
    assert figures["steps"] == 6  # of three clips


def test_a_link_to_an_empty_folder_stays_and_the_folder_is_filled(adapter: Path) -> None:
    assert adapter.is_symlink()
    assert not (adapter.parent / "elsewhere").is_symlink()
    verify(adapter.parent / "elsewhere")


def test_the_card_has_the_whole_recipe(adapter: Path) -> None:
    card = " ".join((adapter / "README.md").read_text().split())
    for part in (
        "encoder layers below 1 (the lowest is 0)",
        "6 steps of 3 clips, at most 1 epochs",
        "weight decay 0.03",
        "count 7.5 times in the loss",
    ):
        assert part in card


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"--output-dir": "a-file"}, "a-file is not empty"),
        ({"--output-dir": "full"}, "full is not empty"),
        ({"--output-dir": "mounted"}, "mounted is a mount point"),
        ({"--source-tag": "<my event>"}, "--source-tag '<my event>': it must be one word"),
        ({"--target-token": "MY EVENT"}, "--target-token 'MY EVENT': it must be one word"),
    ],
)
def test_what_would_fail_at_the_end_is_said_before_the_training(
    options: dict[str, str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "mounted")
    (tmp_path / "manifest.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    words = {"--train-manifest": "manifest.jsonl", "--output-dir": "adapter"} | options
    monkeypatch.setattr(sys, "argv", ["event-detection", "train", *(word for pair in words.items() for word in pair)])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit):
        main()
    assert reason in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_manifest_that_is_not_there_says_which_and_who_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--train-manifest", str(tmp_path / "missing.jsonl"), "--output-dir", str(tmp_path / "adapter")]
    monkeypatch.setattr(sys, "argv", ["event-detection", *words])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert str(tmp_path / "missing.jsonl") in told and "event-detection export" in told
    assert not (tmp_path / "adapter").exists()
