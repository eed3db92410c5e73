"""Comparison: adapters side by side on the same test clips, and the clips they disagree on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.evaluate import Contender, load_test_split, score_adapter
from event_detection_pipeline.config import EvaluationSettings, EventSettings


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A clip that one adapter flags and the other does not, with both scores."""

    audio: str
    contains_event: bool
    first: float
    second: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two adapters on the same clips, each at its own threshold."""

    contenders: tuple[Contender, Contender]
    disagreements: tuple[Disagreement, ...]


def compare(
    manifest: Path, folders: Sequence[Path], event: EventSettings, settings: EvaluationSettings, compute: Compute
) -> Comparison:
    """Compare two adapters on the test split of a manifest.

    Raises:
        NoTestClips, NoUsableClips, BrokenManifest, NoSuchAdapter, BrokenAdapter.
    """
    test = load_test_split(manifest, event)
    first, second = (score_adapter(folder, test, settings.confidence, compute) for folder in folders)
    disagreements = tuple(
        Disagreement(str(example.audio), example.contains_event, a, b)
        for example, a, b in zip(test, first.scores, second.scores, strict=True)
        if (a >= first.metrics.threshold) != (b >= second.metrics.threshold)
    )
    return Comparison((first, second), disagreements)
