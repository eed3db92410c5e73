"""Encoder states: what the frozen layers below an adapter make of each clip, computed once and kept on disk."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from event_detection_pipeline.adapters.examples import Example, read_wav
from event_detection_pipeline.adapters.whisper import Whisper


class StateCache:
    """The states entering encoder layer `layer`, by clip, as float16 files that the system maps and forgets at will.

    Training passes over the same clips many times, and no pass changes what lies below the lowest adapted layer.
    """

    def __init__(self, whisper: Whisper, layer: int) -> None:
        self._whisper = whisper
        self._layer = layer
        self._folder = tempfile.TemporaryDirectory(prefix="encoder-states-")
        self._files: dict[Path, Path] = {}

    def __call__(self, examples: Sequence[Example]) -> torch.Tensor:
        """(examples, frames, d_model) in the model's dtype on its device. The examples share a bucket."""
        missing = [example for example in examples if example.audio not in self._files]
        if missing:
            self._compute(missing)
        states = [torch.from_numpy(np.load(self._files[example.audio])) for example in examples]
        return torch.stack(states).to(self._whisper.compute.device, self._whisper.compute.dtype)

    def close(self) -> None:
        """Delete the files."""
        self._folder.cleanup()

    def _compute(self, examples: Sequence[Example]) -> None:
        features = self._whisper.features([read_wav(example.audio) for example in examples])
        with torch.inference_mode():
            states = self._whisper.model.trimmed_encoder.states(features, self._layer).to(torch.float16).cpu().numpy()
        for example, state in zip(examples, states, strict=True):
            file = Path(self._folder.name) / f"{len(self._files)}.npy"
            np.save(file, state)
            self._files[example.audio] = file
