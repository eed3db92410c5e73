"""The probe: logistic regression on what the frozen encoder makes of a clip; the cheap rival that every adapter meets.

It is trained in seconds and stored beside the adapter, so that an evaluation only scores it. What it cannot do is say
when the event was heard.
"""

import math
from collections.abc import Sequence
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
from event_detection_pipeline.adapters.threshold import choose_threshold
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
    """

    weights: np.ndarray
    bias: float
    threshold: float

    def scores(self, features: np.ndarray) -> list[float]:
        """Probabilities in (0, 1) of pooled states, float32 (clips, features)."""
        return _sigmoid(features @ self.weights + self.bias).tolist()


def train_probe(
    whisper: Whisper, training: Sequence[Example], validation: Sequence[Example], settings: EvaluationSettings
) -> Probe:
    """Fit a probe on the training clips, which must be of both classes; both weigh the same in total.

    The model must be bare, or its adapter disabled.
    """
    probe = fit(pooled_states(whisper, training), [example.contains_event for example in training])
    scores = probe.scores(pooled_states(whisper, validation)) if validation else []
    chosen = choose_threshold([example.contains_event for example in validation], scores, settings)
    return replace(probe, threshold=chosen.value)


def fit(features: np.ndarray, truth: Sequence[bool]) -> Probe:
    """Logistic regression on standardised features, (clips, features); its threshold is the even odds."""
    scaler = StandardScaler().fit(features)
    mean, scale = np.asarray(scaler.mean_), np.asarray(scaler.scale_)
    model = LogisticRegression(C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=MAX_ITERATIONS)
    model.fit(scaler.transform(features), list(truth))
    weights = model.coef_[0] / scale
    return Probe(weights.astype(np.float32), float(np.ravel(model.intercept_)[0] - weights @ mean), 0.5)


def pooled_states(whisper: Whisper, examples: Sequence[Example]) -> np.ndarray:
    """Mean, maximum and standard deviation over time of the encoder's states after up to MAX_LAYERS of its layers.

    Only the frames of the clip itself count, not those of its padding. The model must be bare, or its adapter disabled.

    Returns:
        float32 (examples, layers * 3 * d_model).
    """
    rows: dict[int, np.ndarray] = {}
    order = sorted(range(len(examples)), key=lambda index: examples[index].bucket)
    for _, group in groupby(order, key=lambda index: examples[index].bucket):
        indices = list(group)
        for start in range(0, len(indices), BATCH_SIZE):
            batch = indices[start : start + BATCH_SIZE]
            rows.update(zip(batch, _pool(whisper, [examples[index] for index in batch]), strict=True))
    return np.stack([rows[index] for index in range(len(examples))])


def save_probe(path: Path, probe: Probe) -> None:
    """Write a probe as safetensors, a format that runs no code when it is read."""
    numbers = {"bias": probe.bias, "threshold": probe.threshold}
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
        return Probe(tensors["weights"], float(tensors["bias"]), float(tensors["threshold"]))
    except (SafetensorError, KeyError, TypeError) as error:
        raise BrokenAdapter(f"{path}: {error}; train the adapter again") from None


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _pool(whisper: Whisper, examples: Sequence[Example]) -> np.ndarray:
    """(examples, features) of one bucket."""
    encoder = whisper.model.trimmed_encoder
    wanted = {round(place) for place in np.linspace(1, len(encoder.layers), min(MAX_LAYERS, len(encoder.layers)))}
    frames = [math.ceil(example.samples / SAMPLE_RATE * FRAMES_PER_SECOND) for example in examples]
    pools: list[torch.Tensor] = []
    with torch.inference_mode():
        hidden = encoder.states(whisper.features([read_wav(example.audio) for example in examples]), 0)
        for number, layer in enumerate(encoder.layers, start=1):
            hidden = layer(hidden, None)
            if number in wanted:
                clips = [row[:count].float() for row, count in zip(hidden, frames, strict=True)]
                pools.append(torch.stack([torch.cat([c.mean(0), c.amax(0), c.std(0)]) for c in clips]))
    return torch.cat(pools, dim=1).cpu().numpy()
