"""Training: goes on where it was killed, and ends with the very adapter of an undisturbed training."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from event_detection_pipeline.adapters.candidate import train_candidate
from event_detection_pipeline.adapters.seal import verify
from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.config import Settings, TrainingSettings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline_tests.faults.world import CHIME, World
from event_detection_pipeline_tests.random_adapter import CPU

_TRAINING = TrainingSettings(epochs=3, batch_size=4, patience_epochs=3)


class Training:
    name = "training"
    uses_database = False

    def prepare(self, world: World) -> None:
        """The clips were made with the models."""

    def run(self, world: World, uri: str, number: int, promise: Callable[[str], None]) -> None:
        train(world.models, _settings(world))

    def broken(self, world: World, promised: list[str]) -> Iterator[str]:
        store = AdapterStore(world.settings.adapter_dir)
        for version in store.versions(CHIME.name):
            try:
                verify(store.path(version))
            except PipelineError as error:
                yield str(error)

    def unfinished(self, world: World) -> Iterator[str]:
        folder = AdapterStore(world.settings.adapter_dir)
        trained = folder.path(folder.newest(CHIME.name))
        whole = AdapterStore(world.models / "undisturbed" / "adapters")
        if _weights(trained) != _weights(whole.path(whole.newest(CHIME.name))):
            yield "the adapter is another than that of an undisturbed training"
        if left := [path.name for path in world.settings.checkpoint_dir.glob("*")]:
            yield f"checkpoints are left: {left}"


def train(models: Path, settings: Settings) -> None:
    with AdapterStore(settings.adapter_dir).new_version(CHIME.name) as (_, folder):
        train_candidate(models / "clips.jsonl", folder, CHIME, settings, CPU)


def _settings(world: World) -> Settings:
    return world.settings.model_copy(update={"training": _TRAINING})


def undisturbed(world: World) -> None:
    """The training that all others are compared with, beside the models."""
    train(world.models, _settings(world).model_copy(update={"data_dir": world.models / "undisturbed"}))


def _weights(folder: Path) -> str:
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
