"""The probe: a linear detector on short windows of what the frozen encoder layers below an adapter make of a clip.

A window is as long as a short sound and keeps the order in time inside it: over a whole clip an event of one second is
drowned by the other ten, and a chime is the same as its reverse (docs/recipes.md). The probe is trained in seconds and
costs a scan next to nothing: those layers run anyway. It is the adapter's second opinion (`joined`) and the rival that
every adapter meets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from event_detection_pipeline.adapters.batch_size import BatchSize, clips_at_once, in_batches
from event_detection_pipeline.adapters.examples import Example, read_wav
from event_detection_pipeline.adapters.seal import BrokenAdapter
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.threshold import choose_threshold, from_log_odds, log_odds
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.clips.splits import Split
from event_detection_pipeline.config import SAMPLE_RATE, EvaluationSettings

PROBE_FILE = "probe.safetensors"

FRAMES_PER_SECOND = 50  # of encoder states: 10 ms log-mel frames, halved by the second convolution
STEP_FRAMES = 5  # a window begins every 0.1 s
PARTS = 4  # of a window, one after the other
PART_STEPS = 4  # a part is the mean over 0.4 s
WINDOW_FRAMES = PARTS * PART_STEPS * STEP_FRAMES  # 1.6 s

REACH_SECONDS = 1.5  # how far the event may be from the manifest's time, often the middle of a pause in speech
ROUNDS = 6  # of looking for the events
FOLDS = 4
FIRST_WINDOWS = 24  # of a clip
MAX_FIRST_WINDOWS = 50_000  # of all clips: 1 GB with Whisper large
MIN_FIRST_WINDOWS = 2  # of a clip, however many there are

# Of the joint score: the probe ranks better, and most with many events (docs/recipes.md).
ADAPTER_SHARE = 0.2
# The adapter's log-odds count up to 20 to 1, which costs no average precision (docs/recipes.md): what it can change at
# most tells a scan which windows need not be put before it.
ADAPTER_LIMIT = 3.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a probe says of a clip: the event's probability, and when it would be, in seconds."""

    score: float
    time: float


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear detector: the event's probability in a clip is that in its loudest window, sigmoid(weights · parts +
    bias).

    Attributes:
        weights: float32 (PARTS, d_model); the standardisation of the states is folded into them.
        threshold: chosen on validation by the adapter's rule.
        depth: after how many encoder layers, from the lowest, it listens.
    """

    weights: np.ndarray
    bias: float
    threshold: float
    depth: int

    def scores(self, pooled: Sequence[np.ndarray]) -> list[float]:
        """Probabilities in (0, 1) of clips that were pooled after `depth` layers."""
        return [said.score for said in self.listen(pooled)]

    def listen(self, pooled: Sequence[np.ndarray]) -> list[Said]:
        """The same, with the middle of each clip's loudest window."""
        said = []
        for clip in pooled:
            loudness = self.loudness(clip)
            loudest = int(loudness.argmax())
            said.append(Said(from_log_odds(float(loudness[loudest])), float(_middles(clip)[loudest])))
        return said

    def loudness(self, clip: np.ndarray) -> np.ndarray:
        """The log-odds of each window of a pooled clip, (windows,)."""
        said = clip @ self.weights.T
        count = _windows(clip)
        parts = [said[part * PART_STEPS :, part][:count] for part in range(PARTS)]
        return np.sum(parts, axis=0) + self.bias


def train_probe(
    pooled: Mapping[Split, Sequence[np.ndarray]],
    splits: Mapping[Split, Sequence[Example]],
    depth: int,
    settings: EvaluationSettings,
) -> Probe:
    """Fit a probe on the training clips, which must be of both classes; both weigh the same in total.

    Args:
        pooled: `pooled_states` of each split's examples, after `depth` layers.
    """
    probe = fit(pooled["train"], splits["train"], depth)
    truth = [example.contains_event for example in splits["validation"]]
    return replace(probe, threshold=choose_threshold(truth, probe.scores(pooled["validation"]), settings).value)


def fit(pooled: Sequence[np.ndarray], examples: Sequence[Example], depth: int) -> Probe:
    """Logistic regression on windows of pooled clips; its threshold is the even odds.

    Which window has the event is found in rounds, as in multiple-instance learning (mi-SVM, Andrews et al. 2002): each
    clip is heard by a probe that was fitted on others: one that knows a clip hears what it was told. Its loudest
    window where the event may be stands for the event in the next round; the loudest of a clip without the event is one
    more to be told apart from it. The first round takes the window at the manifest's time, or all where it has none.
    """
    most = min(FIRST_WINDOWS, max(MAX_FIRST_WINDOWS // len(examples), MIN_FIRST_WINDOWS))
    bags = [_bag(*one, most) for one in zip(pooled, examples, strict=True)]
    folds = _folds([example.contains_event for example in examples])
    for _ in range(ROUNDS if max(folds) else 0):
        listeners = [
            _fitted([bag for bag, own in zip(bags, folds, strict=True) if own != fold], depth)
            for fold in range(max(folds) + 1)
        ]
        bags = [bag.heard_by(listeners[fold]) for bag, fold in zip(bags, folds, strict=True)]
    return _fitted(bags, depth)


def joined(adapter: Sequence[float], probe: Sequence[float]) -> list[float]:
    """What adapter and probe say together: the mean of their log-odds, weighted by ADAPTER_SHARE, the adapter's within
    ADAPTER_LIMIT; as probabilities."""
    return [
        from_log_odds(ADAPTER_SHARE * _limited(log_odds(heard)) + (1 - ADAPTER_SHARE) * log_odds(known))
        for heard, known in zip(adapter, probe, strict=True)
    ]


def _limited(log_odds: float) -> float:
    return min(max(log_odds, -ADAPTER_LIMIT), ADAPTER_LIMIT)


@dataclass(frozen=True, slots=True)
class _Bag:
    """A training clip; indices of its windows where the event may be (none, where it is not), of those that are taken
    for it, and of those without it."""

    clip: np.ndarray
    reach: np.ndarray
    event: np.ndarray
    quiet: np.ndarray

    def windows(self, places: np.ndarray) -> np.ndarray:
        """(places, PARTS * d_model)"""
        return np.concatenate([self.clip[places + part * PART_STEPS] for part in range(PARTS)], axis=1)

    def heard_by(self, probe: Probe) -> "_Bag":
        loudness = probe.loudness(self.clip)
        if len(self.reach):
            return replace(self, event=self.reach[[loudness[self.reach].argmax()]])
        return replace(self, quiet=np.union1d(self.quiet, [loudness.argmax()]))


def _bag(clip: np.ndarray, example: Example, most: int) -> _Bag:
    places, none = np.arange(_windows(clip)), np.arange(0)
    if not example.contains_event:
        return _Bag(clip, none, none, _evenly(places, most))
    if example.event_time is None:
        return _Bag(clip, places, _evenly(places, most), none)
    away = np.abs(_middles(clip) - example.event_time)
    nearest = places[[away.argmin()]]
    # What overlaps a window that may have the event is neither: the event may be longer than a window.
    far = places[away > REACH_SECONDS + WINDOW_FRAMES / FRAMES_PER_SECOND]
    return _Bag(clip, np.union1d(places[away <= REACH_SECONDS], nearest), nearest, _evenly(far, most))


def _evenly(places: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the places: more would say the same, and those of all clips must fit memory."""
    chosen = np.linspace(0, len(places) - 1, min(len(places), most))
    return places[chosen.round().astype(int)]


def _folds(truth: Sequence[bool]) -> list[int]:
    """Which fold each clip is in, each with as many of either class; all in one where a class has but one clip."""
    count = min(FOLDS, sum(truth), len(truth) - sum(truth))
    seen = {True: 0, False: 0}
    folds = []
    for event in truth:
        folds.append(seen[event] % count)
        seen[event] += 1
    return folds


def _fitted(bags: Sequence[_Bag], depth: int) -> Probe:
    """Logistic regression on standardised windows. Each clip with the event weighs the same, and all of them as much as
    all that is quiet."""
    events = [len(bag.event) for bag in bags if len(bag.event)]
    chosen = [bag.windows(bag.event) for bag in bags if len(bag.event)] + [bag.windows(bag.quiet) for bag in bags]
    windows = np.concatenate(chosen)
    del chosen
    quiet = len(windows) - sum(events)
    is_event = np.arange(len(windows)) < sum(events)
    shares = [np.full(count, 1 / count / len(events)) for count in events]
    weights = np.concatenate([*shares, np.full(quiet, 1 / quiet)]) * len(bags) / 2
    scaler = StandardScaler(copy=False).fit(windows)
    mean, scale = np.asarray(scaler.mean_), np.asarray(scaler.scale_)
    # Newton's steps: as many columns as windows make the default solver take three times as long.
    model = LogisticRegression(solver="newton-cg").fit(scaler.transform(windows), is_event, sample_weight=weights)
    slopes = model.coef_[0] / scale
    bias = float(np.ravel(model.intercept_)[0] - slopes @ mean)
    return Probe(slopes.reshape(PARTS, -1).astype(np.float32), bias, 0.5, depth)


def pooled_states(
    whisper: Whisper, examples: Sequence[Example], depth: int, states: StateCache | None = None
) -> list[np.ndarray]:
    """What a probe of that depth is told of each example (see Pools); the model bare, or its adapter disabled.

    Args:
        states: of that depth, if they are kept; None computes them.
    """

    def pool(batch: list[int]) -> list[np.ndarray]:
        chosen = [examples[index] for index in batch]
        pools = Pools([example.samples for example in chosen], [depth])
        pools.add(depth, states(chosen) if states else encoded(chosen))
        return pools.features(depth)

    def encoded(chosen: Sequence[Example]) -> torch.Tensor:
        with torch.inference_mode():
            features = whisper.features([read_wav(example.audio) for example in chosen])
            return whisper.model.trimmed_encoder.states(features, depth)

    return in_batches([example.bucket for example in examples], BatchSize(clips_at_once(whisper)), pool)


class Pools:
    """A batch's states after some layers as the probes are told of them: means over 0.4 s, every 0.1 s.

    Only a clip's own frames count, whatever it is padded to; but one shorter than a window is as long as a window.

    Args:
        samples: length of each clip, in samples.
        depths: of the probes that are to be asked.
    """

    def __init__(self, samples: Sequence[int], depths: Iterable[int]) -> None:
        frames = [max(count * FRAMES_PER_SECOND // SAMPLE_RATE, WINDOW_FRAMES) for count in samples]
        self._steps = [1 + (count - PART_STEPS * STEP_FRAMES) // STEP_FRAMES for count in frames]
        self._depths = set(depths)
        self._pools: dict[int, list[np.ndarray]] = {}

    def add(self, layer: int, states: torch.Tensor) -> None:
        """States (clips, frames, d_model) after `layer` layers; those that no probe asks for are let go."""
        if layer in self._depths:
            in_time = states.float().transpose(1, 2)
            means = torch.nn.functional.avg_pool1d(in_time, PART_STEPS * STEP_FRAMES, STEP_FRAMES).transpose(1, 2)
            rows = means.contiguous().cpu().numpy()
            self._pools[layer] = [row[:steps].copy() for row, steps in zip(rows, self._steps, strict=True)]

    def features(self, depth: int) -> list[np.ndarray]:
        """For each clip what a probe of that depth is told, float32 (steps, d_model)."""
        return self._pools[depth]


def _windows(clip: np.ndarray) -> int:
    """How many windows a pooled clip has."""
    return len(clip) - (PARTS - 1) * PART_STEPS


def _middles(clip: np.ndarray) -> np.ndarray:
    """Of each window of a pooled clip, in seconds."""
    return (np.arange(_windows(clip)) * STEP_FRAMES + WINDOW_FRAMES / 2) / FRAMES_PER_SECOND


def save_probe(path: Path, probe: Probe) -> None:
    """Write a probe as safetensors, a format that runs no code when it is read."""
    numbers = {"bias": probe.bias, "threshold": probe.threshold, "depth": probe.depth}
    save_file({"weights": probe.weights} | {name: np.array(one, np.float64) for name, one in numbers.items()}, path)


def load_probe(path: Path) -> Probe | None:
    """The probe in a file, or None where there is none.

    Raises:
        BrokenAdapter: the file is not one, or is one of an older version, which weighed whole clips.
    """
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
        probe = Probe(tensors["weights"], float(tensors["bias"]), float(tensors["threshold"]), int(tensors["depth"]))
    except (SafetensorError, KeyError, TypeError) as error:
        raise BrokenAdapter(f"{path}: {error}; train the adapter again") from None
    if probe.weights.shape[:-1] != (PARTS,):
        raise BrokenAdapter(f"{path}: made by another version of this package; train the adapter again")
    return probe
