"""A training that is killed goes on where it was, and ends with the adapter it would have ended with."""

import contextlib
import errno
import json
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from event_detection_pipeline.adapters.checkpoints import (
    SEAL,
    AlreadyTraining,
    checkpoint_folder,
    hold,
    newest_checkpoint,
    remove_held,
    seal,
    training_key,
)
from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.marker import marker_of
from event_detection_pipeline.adapters.train import TrainedAdapter, Workplace, train_adapter
from event_detection_pipeline.adapters.whisper import load_whisper
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline.files import write_atomically
from event_detection_pipeline_tests.random_adapter import CPU

LORA = LoraSettings(dropout=0.1)  # with dropout, also the state of the random numbers must come back
SETTINGS = TrainingSettings(epochs=6, batch_size=4, patience_epochs=2, learning_rate=1e-3)


def train(model: Path, examples: list[Example], workplace: Workplace, settings: TrainingSettings) -> TrainedAdapter:
    whisper = load_whisper(str(model), CPU)
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    return train_adapter(
        whisper, marker, examples[:16], examples[16:], lora=LORA, settings=settings, workplace=workplace
    )


def workplace(folder: Path) -> Workplace:
    return Workplace(folder / "checkpoints", folder / "states")


def weights(trained: TrainedAdapter) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trained.model.named_parameters() if "lora_" in name}


@dataclass
class Runs:
    """The same training twice: whole, and killed after its first checkpoint and gone on with."""

    whole: TrainedAdapter
    resumed: TrainedAdapter
    killed_at: int


@pytest.fixture(scope="module")
def runs(tiny_model: Path, examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("training")
    whole = train(tiny_model, examples, workplace(folder / "whole"), SETTINGS)
    place = workplace(folder / "killed")
    child = multiprocessing.get_context("spawn").Process(target=train, args=(tiny_model, examples, place, SETTINGS))
    child.start()
    while child.is_alive() and not list(place.checkpoints.glob(f"*/{SEAL}")):
        time.sleep(0.002)
    child.kill()
    child.join()
    newest = newest_checkpoint(place.checkpoints)
    assert newest is not None
    killed_at = int(newest.name.rpartition("-")[2])
    return Runs(whole, train(tiny_model, examples, place, SETTINGS), killed_at)


def test_it_was_killed_in_the_middle(runs: Runs) -> None:
    assert 0 < runs.killed_at < runs.whole.steps


def test_after_a_kill_the_weights_are_those_of_an_uninterrupted_training(runs: Runs) -> None:
    whole, resumed = weights(runs.whole), weights(runs.resumed)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_history_and_steps_are_those_of_the_whole_training(runs: Runs) -> None:
    assert runs.resumed.history == runs.whole.history
    assert runs.resumed.steps == runs.whole.steps


def test_a_seed_gives_the_same_adapter_and_another_seed_another(
    runs: Runs, tiny_model: Path, examples: list[Example], tmp_path: Path
) -> None:
    again = weights(train(tiny_model, examples, workplace(tmp_path / "again"), SETTINGS))
    assert all(torch.equal(value, again[name]) for name, value in weights(runs.whole).items())
    other = SETTINGS.model_copy(update={"seed": 1})
    different = weights(train(tiny_model, examples, workplace(tmp_path / "other"), other))
    assert not all(torch.equal(value, again[name]) for name, value in different.items())


def test_a_training_that_had_stopped_early_is_not_gone_on_with(
    tiny_model: Path, examples: list[Example], tmp_path: Path
) -> None:
    impatient = SETTINGS.model_copy(update={"patience_epochs": 1, "learning_rate": 1e-12, "epochs": 50})
    place = workplace(tmp_path)
    first = train(tiny_model, examples, place, impatient)
    assert first.steps < 50 * 4
    again = train(tiny_model, examples, place, impatient)  # killed after its last checkpoint, before it returned
    assert (again.steps, again.history) == (first.steps, first.history)
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(first).items())


def make_checkpoint(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "optimizer.pt").write_bytes(os.urandom(64))
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return checkpoint


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    for step in (5, 10, 9):
        seal(make_checkpoint(tmp_path, step))
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize("what", ["not sealed", "cut short", "a file is missing", "the seal is cut short"])
def test_a_half_written_checkpoint_is_removed_and_not_taken(tmp_path: Path, what: str) -> None:
    seal(make_checkpoint(tmp_path, 5))
    half = make_checkpoint(tmp_path, 10)
    if what != "not sealed":
        seal(half)
    if what == "cut short":
        (half / "optimizer.pt").write_bytes(b"half")
    elif what == "a file is missing":
        (half / "optimizer.pt").unlink()
    elif what == "the seal is cut short":
        (half / SEAL).write_text((half / SEAL).read_text()[:20])
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    assert not half.exists()


def test_a_folder_stays_until_its_training_ends_well(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), checkpoint_folder(tmp_path, "a") as folder:
        make_checkpoint(folder, 5)
        raise RuntimeError
    with checkpoint_folder(tmp_path, "a") as folder:
        assert (folder / "checkpoint-5").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_share_a_training(tmp_path: Path) -> None:
    with (
        checkpoint_folder(tmp_path, "a"),
        checkpoint_folder(tmp_path, "b"),
        pytest.raises(AlreadyTraining, match="wait for it"),
        checkpoint_folder(tmp_path, "a"),
    ):
        pass


def test_what_was_interrupted_long_ago_makes_room(tmp_path: Path) -> None:
    old, recent = make_checkpoint(tmp_path / "old", 5).parent, make_checkpoint(tmp_path / "recent", 5).parent
    os.utime(old, (0, 0))
    with checkpoint_folder(tmp_path, "new"):
        assert recent.exists() and not old.exists()


@pytest.mark.parametrize("links", [True, False], ids=["a disk", "two disks"])
def test_what_a_training_holds_stays_until_it_ends(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_another_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    if not links:
        monkeypatch.setattr(os, "link", on_another_disk)
    audio, other = tmp_path / "a.wav", tmp_path / "b" / "a.wav"
    other.parent.mkdir()
    for path in (audio, other):
        path.write_text(str(path))
    for failing in (True, False):
        with contextlib.suppress(RuntimeError), checkpoint_folder(tmp_path / "checkpoints", "a") as folder:
            held = [hold(path, folder) for path in (audio, other, audio)]
            write_atomically(audio, b"another export's")
            other.unlink()
            assert [path.read_text() for path in held] == [str(audio), str(other), str(audio)]
            assert held[0].suffix == ".wav"
            if failing:
                raise RuntimeError
        assert not any(path.exists() for path in held)
        audio.write_text(str(audio))
        other.write_text(str(other))
    with checkpoint_folder(tmp_path / "checkpoints", "a") as folder, pytest.raises(FileNotFoundError):
        hold(tmp_path / "gone.wav", folder)


@pytest.mark.parametrize("by", ["the next training", "whoever wants it gone"])
def test_what_a_killed_training_held_is_removed(tmp_path: Path, by: str) -> None:
    killed = make_checkpoint(tmp_path / "killed", 5).parent
    (killed / "audio").mkdir()
    (killed / "audio" / "a.wav").touch()
    if by == "the next training":
        with checkpoint_folder(tmp_path, "another"):
            pass
    else:
        remove_held(tmp_path)
    assert [path.name for path in killed.iterdir()] == ["checkpoint-5"]


def test_what_a_training_under_way_holds_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with checkpoint_folder(tmp_path / "checkpoints", "a") as folder:
        held = hold(tmp_path / "a.wav", folder)
        remove_held(tmp_path / "checkpoints")
        with checkpoint_folder(tmp_path / "checkpoints", "b"):
            assert held.exists()


def test_another_setting_is_another_training() -> None:
    keys = {training_key("digest", LORA, SETTINGS), training_key("digest", LORA, TrainingSettings())}
    assert len(keys) == 2
    assert training_key("digest", LORA, SETTINGS) in keys
