"""A training that two processes share: what one would have made, once, also after both were killed."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from event_detection_pipeline.adapters.checkpoints import SEAL
from event_detection_pipeline.adapters.seal import verify
from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.clips.manifest import write_manifest
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline_tests.adapters.conftest import make_whisper
from event_detection_pipeline_tests.adapters.test_evaluate import line
from event_detection_pipeline_tests.scale.conftest import CHIME

pytestmark = pytest.mark.scale

TRAINING = """\
[training]
epochs = 4
batch_size = 3
patience_epochs = 4
"""
# A batch of three clips is two and one; that of the one long clip leaves nothing for the second process.
STEPS = 4 * (6 + 1)

SCRIPTS = Path(sys.executable).parent
COMMAND = str(SCRIPTS / "event-detection")
TORCHRUN = [str(SCRIPTS / "torchrun"), "--standalone", "--nproc-per-node", "2", "--no-python"]
ACCELERATE = [str(SCRIPTS / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
ACCELERATE += ["--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no", "--no_python"]


@dataclass
class House:
    """A manifest and a base model, and the trainings on them, each in a data folder of its own."""

    folder: Path

    def start(self, name: str, launcher: Sequence[str] = ()) -> "subprocess.Popen[str]":
        environment = os.environ | {
            "EVENT_DETECTION_CONFIG": str(self.folder / "event_detection.toml"),
            "EVENT_DETECTION_DATA_DIR": str(self.folder / name),
            "OMP_NUM_THREADS": "1",
        }
        files = ["--train-manifest", str(self.manifest), "--output-dir", str(self.adapter(name))]
        return subprocess.Popen(
            [*launcher, COMMAND, "train", *files],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def train(self, name: str, launcher: Sequence[str] = ()) -> str:
        """Train, and return what was told meanwhile."""
        training = self.start(name, launcher)
        _, told = training.communicate(timeout=600)
        assert training.returncode == 0, told
        return told

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.jsonl"

    def adapter(self, name: str) -> Path:
        return self.folder / name / "adapters" / "chime_v1"

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.adapter(name) / "adapter_model.safetensors")

    def figures(self, name: str) -> dict[str, Any]:
        return json.loads((self.adapter(name) / "metrics.json").read_text())

    def states(self, name: str) -> list[str]:
        return sorted(file.name for file in (self.folder / name / "cache" / "encoder-states").iterdir())


@pytest.fixture(scope="module")
def house(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    make_whisper(folder / "whisper", base_model)
    (folder / "event_detection.toml").write_text(CHIME.format(base_model=(folder / "whisper").as_posix()) + TRAINING)
    # Validated on events alone, the loss falls from epoch to epoch: all keep the last, none is best by rounding.
    clips = [
        clip for number in range(40) if (clip := line(folder, number)).contains_event or clip.split != "validation"
    ]
    noise = np.random.default_rng(0).normal(0, 0.003, 60_000).astype(np.float32)
    (folder / "long.wav").write_bytes(wav_bytes(noise))
    clips.append(replace(clips[1], audio=str(folder / "long.wav"), duration=3.75, conversation_id="long"))
    write_manifest(folder / "manifest.jsonl", clips)
    return House(folder)


@pytest.fixture(scope="module")
def alone(house: House) -> str:
    house.train("alone")
    return "alone"


@pytest.fixture(scope="module")
def shared(house: House) -> str:
    told = house.train("shared", TORCHRUN)
    assert told.count("epoch 4 of 4: loss") == 1, "the first process alone tells how it goes"
    return "shared"


def assert_same_training(house: House, one: str, other: str) -> None:
    """But for rounding: sums in another order, and bfloat16 where the processor multiplies it."""
    figures = [house.figures(name) for name in (one, other)]
    assert [found["steps"] for found in figures] == [STEPS, STEPS]
    losses = [[point["loss"] for point in found["history"] if point["loss"] is not None] for found in figures]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    expected, weights = house.weights(one), house.weights(other)
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert (weights[name] - value).norm() <= 1e-2 * value.norm(), name


def test_two_processes_train_what_one_trains(house: House, alone: str, shared: str) -> None:
    assert_same_training(house, alone, shared)
    assert house.figures(shared)["device"] == "2 processes, each on cpu"


def test_only_one_adapter_is_left_and_it_is_whole(house: House, shared: str) -> None:
    verify(house.adapter(shared))
    assert [path.name for path in house.adapter(shared).parent.iterdir()] == ["chime_v1"]
    assert list((house.folder / shared / "checkpoints").iterdir()) == []


def test_the_states_of_the_lower_layers_are_computed_once_for_both(house: House, alone: str, shared: str) -> None:
    assert house.states(shared) == house.states(alone)


def kill_in_the_middle(house: House, name: str) -> None:
    """Two processes train, and are gone without a word after their first checkpoint."""
    training = house.start(name, TORCHRUN)
    checkpoints = house.folder / name / "checkpoints"
    while training.poll() is None and not list(checkpoints.glob(f"*/*/{SEAL}")):
        time.sleep(0.005)
    launcher = psutil.Process(training.pid)
    for process in (*launcher.children(recursive=True), launcher):
        process.kill()
    training.communicate()
    assert not house.adapter(name).exists()


def test_both_killed_and_begun_again_end_with_the_very_same_adapter(house: House, shared: str) -> None:
    kill_in_the_middle(house, "killed")
    told = house.train("killed", ACCELERATE)
    assert told.count("going on from") == 1
    expected = house.weights(shared)
    assert all(torch.equal(value, expected[name]) for name, value in house.weights("killed").items())


def test_what_two_began_one_may_end(house: House, alone: str) -> None:
    kill_in_the_middle(house, "taken over")
    assert "going on from" in house.train("taken over")
    assert_same_training(house, alone, "taken over")


def run_step(data: Path, manifest: bytes) -> tuple[dg.ExecuteInProcessResult, list[dg.EventLogEntry]]:
    """The step that trains, on a manifest, with its data in a folder; its events and what it logged."""
    from event_detection_pipeline.defs.candidate_adapter import candidate_adapter
    from event_detection_pipeline.defs.resources import AdapterStoreResource, ComputeResource, SettingsResource

    (data / "manifests").mkdir(parents=True)
    (data / "manifests" / "chime.jsonl").write_bytes(manifest)
    resources = {
        "settings": SettingsResource(epochs=1),
        "compute": ComputeResource(),
        "store": AdapterStoreResource(),
    }
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("EVENT_DETECTION_CONFIG", str(data.parent / "event_detection.toml"))
        patch.setenv("EVENT_DETECTION_DATA_DIR", str(data))
        patch.setenv("EVENT_DETECTION_CLUSTER__TRAINING_PROCESSES", "2")
        patch.setenv("OMP_NUM_THREADS", "1")
        result = dg.materialize([candidate_adapter], instance=instance, resources=resources, raise_on_error=False)
        return result, list(instance.all_logs(result.run_id))


def test_as_a_step_it_trains_in_processes_of_its_own_whose_log_is_the_steps(house: House) -> None:
    data = house.folder / "step"
    result, log = run_step(data, house.manifest.read_bytes())
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert sum("epoch 1 of 1: loss" in entry.user_message for entry in log) == 1
    (event,) = result.asset_materializations_for_node("candidate_adapter")
    assert event.metadata["training steps"].value == STEPS / 4
    assert event.metadata["device"].value == "2 processes, each on cpu"
    (version,) = AdapterStore(data / "adapters").versions("chime")
    verify(data / "adapters" / str(version))


def test_a_step_whose_processes_fail_says_why_and_leaves_no_adapter(house: House) -> None:
    data = house.folder / "broken"
    result, log = run_step(data, b"not a clip\n")
    assert not result.success
    assert sum("chime.jsonl:1: not JSON" in str(entry.dagster_event) for entry in log) == 1
    assert AdapterStore(data / "adapters").versions("chime") == []


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="the processes of a step end with it on Linux only")
def test_a_step_that_is_killed_leaves_no_process_that_trains_on(house: House) -> None:
    data = house.folder / "orphaned"
    arguments = f"Path({str(data)!r}), Path({str(house.manifest)!r}).read_bytes()"
    script = f"from {__name__} import Path, run_step; run_step({arguments})"
    step = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(data.glob("checkpoints/*")):
        assert step.poll() is None
        time.sleep(0.05)
    processes = psutil.Process(step.pid).children(recursive=True)
    try:
        assert len(processes) >= 3  # torchrun and what it started
        step.kill()
        deadline = time.monotonic() + 60
        while not all(map(has_ended, processes)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [process for process in processes if not has_ended(process)] == []
        assert list(data.glob("checkpoints/*")), "the training went on to its end, which leaves none"
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        step.wait()
