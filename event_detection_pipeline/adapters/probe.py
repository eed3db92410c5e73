"""The probe: logistic regression on what the frozen encoder layers below an adapter make of a clip.

It is trained in seconds, and its scores cost a scan next to nothing: those layers run anyway. It is the adapter's
second opinion (`joined`: together they rank better than either, docs/decisions.md) and the rival that every adapter
meets. What it cannot do is say when the event was heard.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from event_detection_pipeline.adapters.examples import Example, read_wav
from event_detection_pipeline.adapters.seal import BrokenAdapter
from event_detection_pipeline.adapters.threshold import choose_threshold, from_log_odds, log_odds
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.config import SAMPLE_RATE, EvaluationSettings

PROBE_FILE = "probe.safetensors"

FRAMES_PER_SECOND = 50  # of encoder states: 10 ms log-mel frames, halved by the second convolution
MAX_LAYERS = 8  # evenly spaced; a large model's 32 would say the same thing four times
INVERSE_REGULARISATION = 0.1  # scikit-learn's C: thousands of correlated features and a few dozen clips
BATCH_SIZE = 8  # clips
MAX_ITERATIONS = 1000


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear detector: the event's probability is sigmoid(weights · features + bias), features as `pooled_states`.

    Attributes:
        weights: float32 (features,); the standardisation of the features is folded into them.
        threshold: chosen on validation by the adapter's rule.
        depth: how many encoder layers, from the lowest, it is told of.
    """

    weights: np.ndarray
    bias: float
    threshold: float
    depth: int

    def scores(self, features: np.ndarray) -> list[float]:
        """Probabilities in (0, 1) of pooled states, float32 (clips, features)."""
        return _sigmoid(features @ self.weights + self.bias).tolist()


def train_probe(
    whisper: Whisper,
    training: Sequence[Example],
    validation: Sequence[Example],
    depth: int,
    settings: EvaluationSettings,
) -> Probe:
    """Fit a probe on the training clips, which must be of both classes; both weigh the same in total.

    The model must be bare, or its adapter disabled.
    """
    probe = fit(pooled_states(whisper, training, depth), [example.contains_event for example in training], depth)
    scores = probe.scores(pooled_states(whisper, validation, depth))
    chosen = choose_threshold([example.contains_event for example in validation], scores, settings)
    return replace(probe, threshold=chosen.value)


def fit(features: np.ndarray, truth: Sequence[bool], depth: int) -> Probe:
    """Logistic regression on standardised features, (clips, features); its threshold is the even odds."""
    scaler = StandardScaler().fit(features)
    mean, scale = np.asarray(scaler.mean_), np.asarray(scaler.scale_)
    model = LogisticRegression(C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=MAX_ITERATIONS)
    model.fit(scaler.transform(features), list(truth))
    weights = model.coef_[0] / scale
    return Probe(weights.astype(np.float32), float(np.ravel(model.intercept_)[0] - weights @ mean), 0.5, depth)


def joined(adapter: Sequence[float], probe: Sequence[float]) -> list[float]:
    """What adapter and probe say together: the mean of their log-odds, as probabilities."""
    both = zip(adapter, probe, strict=True)
    return [from_log_odds((log_odds(heard) + log_odds(known)) / 2) for heard, known in both]


def pooled_states(whisper: Whisper, examples: Sequence[Example], depth: int) -> np.ndarray:
    """The features of examples. The model must be bare, or its adapter disabled.

    Returns:
        float32 (examples, layers * 3 * d_model).
    """
    rows: dict[int, np.ndarray] = {}
    order = sorted(range(len(examples)), key=lambda index: examples[index].bucket)
    for _, group in groupby(order, key=lambda index: examples[index].bucket):
        indices = list(group)
        for start in range(0, len(indices), BATCH_SIZE):
            batch = indices[start : start + BATCH_SIZE]
            clips = [read_wav(examples[index].audio) for index in batch]
            pools = Pools([len(clip) for clip in clips], [depth])
            with torch.inference_mode():
                features = whisper.features(clips)
                for layer, states in enumerate(whisper.model.trimmed_encoder.iter_states(features, depth)):
                    pools.add(layer, states)
            rows.update(zip(batch, pools.features(depth), strict=True))
    width = 3 * whisper.model.config.d_model * len(pooled_layers(depth))
    return np.stack([rows[index] for index in range(len(examples))]) if examples else np.empty((0, width), np.float32)


def pooled_layers(depth: int) -> list[int]:
    """The layers whose states a probe of that depth is told of: at most MAX_LAYERS of them, and the last."""
    return [round(place) for place in np.linspace(1, depth, min(MAX_LAYERS, depth))]


class Pools:
    """Mean, maximum and standard deviation over time of a batch's states after some layers.

    Only the frames of a clip itself count, not those of its padding.

    Args:
        samples: length of each clip, in samples.
        depths: of the probes that are to be asked.
    """

    def __init__(self, samples: Sequence[int], depths: Iterable[int]) -> None:
        self._frames = [math.ceil(count / SAMPLE_RATE * FRAMES_PER_SECOND) for count in samples]
        self._wanted = {layer for depth in depths for layer in pooled_layers(depth)}
        self._pools: dict[int, torch.Tensor] = {}

    def add(self, layer: int, states: torch.Tensor) -> None:
        """States (clips, frames, d_model) after `layer` layers; those that no probe asks for are let go."""
        if layer in self._wanted:
            clips = [row[:count].float() for row, count in zip(states, self._frames, strict=True)]
            rows = [torch.cat([clip.mean(0), clip.amax(0), clip.std(0, correction=0)]) for clip in clips]
            self._pools[layer] = torch.stack(rows)

    def features(self, depth: int) -> np.ndarray:
        """What a probe of that depth is told, float32 (clips, features)."""
        return torch.cat([self._pools[layer] for layer in pooled_layers(depth)], dim=1).cpu().numpy()


def save_probe(path: Path, probe: Probe) -> None:
    """Write a probe as safetensors, a format that runs no code when it is read."""
    numbers = {"bias": probe.bias, "threshold": probe.threshold, "depth": probe.depth}
    save_file({"weights": probe.weights} | {name: np.array(one, np.float64) for name, one in numbers.items()}, path)


def load_probe(path: Path) -> Probe | None:
    """The probe in a file, or None where there is none.

    Raises:
        BrokenAdapter: the file is not one.
    """
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
        return Probe(tensors["weights"], float(tensors["bias"]), float(tensors["threshold"]), int(tensors["depth"]))
    except (SafetensorError, KeyError, TypeError) as error:
        raise BrokenAdapter(f"{path}: {error}; train the adapter again") from None


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
