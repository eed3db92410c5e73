"""Encoder states: what the frozen layers below an adapter make of each clip, computed once and kept on disk, also for
the trainings to come."""

import contextlib
import hashlib
import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from event_detection_pipeline.adapters.distributed import ALONE, Processes
from event_detection_pipeline.adapters.examples import Example, read_wav
from event_detection_pipeline.adapters.whisper import Whisper

logger = logging.getLogger(__name__)

# Clips encoded at once on a card. On a CPU one by one is as fast, and a clip's states are the same to the last bit
# whatever else was missing.
BATCH_SIZE = 8
FLOAT16_MAX = torch.finfo(torch.float16).max  # 65504


class StateCache:
    """The states entering encoder layer `layer`, by clip, as float16 files that are memory-mapped.

    Training passes over the same clips many times, and no pass changes what lies below the lowest adapted layer; the
    next training hears most of them again. A file is named after the SHA-256 of all that made it: the samples and the
    weights they went through. What was used longest ago makes room; what is needed now never does, and states that find
    no room are computed each time.

    Args:
        folder: where the files are; made if it is not there.
        max_bytes: how large it may become.
        needed: the examples of the training under way.
        processes: that share the folder and, each a share of it, the room there is and the files that make more.
    """

    def __init__(
        self,
        whisper: Whisper,
        layer: int,
        folder: Path,
        max_bytes: int,
        needed: Sequence[Example] = (),
        processes: Processes = ALONE,
    ) -> None:
        self.computed = 0  # clips that went through the encoder
        self._whisper = whisper
        self._layer = layer
        self._folder = folder
        self._weights = _weights_digest(whisper, layer)
        self._files: dict[Path, Path] = {}
        folder.mkdir(parents=True, exist_ok=True)
        found, in_use = _oldest_first(folder), {self._file(example) for example in needed}
        self._oldest_first = processes.share([one for one in found if one[1] not in in_use])
        self._room = (max_bytes - sum(size for size, _ in found)) // processes.count

    def __call__(self, examples: Sequence[Example]) -> torch.Tensor:
        """(examples, frames, d_model) in the model's dtype on its device.

        Args:
            examples: of one bucket.
        """
        states = {place: self._read(example) for place, example in enumerate(examples)}
        missing = [place for place, state in states.items() if state is None]
        at_once = 1 if self._whisper.compute.device.type == "cpu" else BATCH_SIZE
        for start in range(0, len(missing), at_once):
            places = missing[start : start + at_once]
            states.update(zip(places, self._compute([examples[place] for place in places]), strict=True))
        rows = torch.stack([torch.from_numpy(np.array(states[place])) for place in range(len(examples))])
        return rows.to(self._whisper.compute.device, self._whisper.compute.dtype)

    def _read(self, example: Example) -> np.ndarray | None:
        path = self._file(example)
        try:
            return np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError):  # not there, or cut short by a power failure
            return None

    def _file(self, example: Example) -> Path:
        if example.audio not in self._files:
            made_of = hashlib.sha256(self._weights)
            made_of.update(read_wav(example.audio).data)
            path = self._folder / f"{made_of.hexdigest()}.npy"
            self._files[example.audio] = path
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)  # used now: the last to make room
        return self._files[example.audio]

    def _compute(self, examples: Sequence[Example]) -> np.ndarray:
        features = self._whisper.features([read_wav(example.audio) for example in examples])
        with torch.inference_mode():
            states = _as_float16(self._whisper.model.trimmed_encoder.states(features, self._layer)).cpu().numpy()
        self.computed += len(examples)
        for example, state in zip(examples, states, strict=True):
            self._keep(self._file(example), state)
        return states

    def _keep(self, path: Path, state: np.ndarray) -> None:
        """Written beside and renamed, so that a file is whole or not there; nothing waits for the disk. Where it cannot
        be written, it is computed again."""
        while self._room < state.nbytes and self._oldest_first:
            size, oldest = self._oldest_first.pop(0)
            oldest.unlink(missing_ok=True)
            self._room += size
        if self._room < state.nbytes:
            return
        beside = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.part")
        try:
            with beside.open("wb") as file:
                np.save(file, state)
            self._room -= beside.stat().st_size
            beside.replace(path)
        except OSError as error:
            logger.warning("encoder states are not kept: %s", error)
            beside.unlink(missing_ok=True)
            self._room = 0
            self._oldest_first.clear()


def _as_float16(states: torch.Tensor) -> torch.Tensor:
    """Where they are beyond its range (large models have such states), its largest number: an infinite one would make
    NaN of all that comes after. Whisper itself does so where it runs in float16."""
    # Afterwards, as bfloat16 does not have that number: it would be rounded up, out of range again.
    return states.to(torch.float16).clamp(-FLOAT16_MAX, FLOAT16_MAX)


def _oldest_first(folder: Path) -> list[tuple[int, Path]]:
    """Size and path of each file, the one used longest ago first."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another training made room
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    return [(size, path) for _, size, path in sorted(found)]


def _weights_digest(whisper: Whisper, layer: int) -> bytes:
    """SHA-256 of the weights below a layer and of the number format: of what the states depend on, whatever the model
    is called and wherever it came from."""
    encoder = whisper.model.trimmed_encoder
    digest = hashlib.sha256(f"{layer} {whisper.compute.dtype}".encode())
    for module in (encoder.conv1, encoder.conv2, encoder.embed_positions, *encoder.layers[:layer]):
        for parameter in module.state_dict().values():
            digest.update(parameter.contiguous().view(torch.uint8).cpu().numpy().data)
    return digest.digest()
