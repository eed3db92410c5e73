"""Comparison: adapters side by side on the same labelled clips, and the clips they disagree on."""

from dataclasses import dataclass
from pathlib import Path

from event_detection_pipeline.adapters.contender import Contender, adapter_on, load_detector
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.estimate import Estimate
from event_detection_pipeline.adapters.evaluation_set import read_test_split
from event_detection_pipeline.adapters.metrics import precision_difference
from event_detection_pipeline.config import EvaluationSettings, EventSettings


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A clip that one adapter flags and the other does not, with both scores.

    `start` and `end` are seconds in the conversation: where to listen.
    """

    audio: str
    conversation_id: str
    start: float
    end: float
    contains_event: bool
    first: float
    second: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two adapters on the same clips, each at its own threshold.

    `difference` is the second's average precision less the first's, by the paired bootstrap over conversations.
    """

    contenders: tuple[Contender, Contender]
    truth: tuple[bool, ...]
    difference: Estimate
    disagreements: tuple[Disagreement, ...]


def compare(
    manifest: Path,
    folders: tuple[Path, Path],
    event: EventSettings,
    settings: EvaluationSettings,
    compute: Compute,
) -> Comparison:
    """Compare two adapters on the test split of a manifest.

    Raises:
        NoTestClips, BrokenManifest, NoSuchAdapter, BrokenAdapter, BaseModelUnavailable.
    """
    test = read_test_split(manifest, event)
    first, second = (adapter_on(load_detector(folder, compute), test, settings.confidence) for folder in folders)
    disagreements = tuple(
        Disagreement(clip.audio, clip.conversation_id, clip.start, clip.end, event, a, b)
        for clip, event, a, b, a_flags, b_flags in zip(
            test.clips, test.truth, first.scores, second.scores, first.flags(), second.flags(), strict=True
        )
        if a_flags != b_flags
    )
    difference = precision_difference(test.truth, second.scores, first.scores, test.conversations, settings.confidence)
    return Comparison((first, second), test.truth, difference, disagreements)
