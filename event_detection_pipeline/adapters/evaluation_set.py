"""What detectors are evaluated on: clips of a manifest whose audio can be read, as its lines and as examples."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from event_detection_pipeline.adapters.examples import Example, UnusableClip, example_of
from event_detection_pipeline.clips.manifest import Clip, read_manifest
from event_detection_pipeline.clips.sources import BACKGROUND
from event_detection_pipeline.config import EventSettings
from event_detection_pipeline.errors import PipelineError

logger = logging.getLogger(__name__)

EVENT, OTHER_SOUNDS, PLAIN_SPEECH = "event", "other sounds", "plain speech"
KINDS = (EVENT, OTHER_SOUNDS, PLAIN_SPEECH)


class NoTestClips(PipelineError):
    """There is nothing to evaluate on: the message names the manifest."""


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Lines of a manifest and, in the same order, their examples."""

    clips: tuple[Clip, ...]
    examples: tuple[Example, ...]

    @property
    def truth(self) -> tuple[bool, ...]:
        return tuple(example.contains_event for example in self.examples)

    @property
    def conversations(self) -> tuple[str, ...]:
        return tuple(example.conversation_id for example in self.examples)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of each clip: the event; what somebody or a scan took for it, or a recording of another sound; or speech that
        nobody flagged, of a conversation that may be flagged elsewhere."""
        return tuple(
            EVENT if event else OTHER_SOUNDS if _is_other_sound(clip) else PLAIN_SPEECH
            for clip, event in zip(self.clips, self.truth, strict=True)
        )


def _is_other_sound(clip: Clip) -> bool:
    """Of a clip without the event."""
    # Lines of older exports do not say which part of a conversation was flagged.
    flagged = clip.source != BACKGROUND if clip.flagged is None else clip.flagged
    return clip.recording is not None or flagged


def usable(clips: Iterable[Clip], event: EventSettings) -> EvaluationSet:
    """The clips whose audio can be used; the others are logged."""
    kept, examples = [], []
    for clip in clips:
        try:
            examples.append(example_of(clip, event))
        except UnusableClip as error:
            logger.warning("left out: %s", error)
        else:
            kept.append(clip)
    return EvaluationSet(tuple(kept), tuple(examples))


def read_test_split(manifest: Path, event: EventSettings) -> EvaluationSet:
    """The test clips of a manifest.

    Raises:
        NoTestClips, BrokenManifest.
    """
    clips = [clip for clip in read_manifest(manifest, source_tag=event.source_tag) if clip.split == "test"]
    if not clips:
        raise NoTestClips(
            f"{manifest} has no clip in its test split; review more conversations: a share of clips.test_fraction of "
            "them lands there"
        )
    return _not_empty(usable(clips, event), manifest)


def read_golden_set(manifest: Path, event: EventSettings) -> EvaluationSet:
    """All clips of a golden manifest, whatever their split, but for other events'.

    Raises:
        NoTestClips, BrokenManifest.
    """
    clips = read_manifest(manifest, source_tag=event.source_tag)
    return _not_empty(usable([clip for clip in clips if clip.event in ("", event.name)], event), manifest)


def _not_empty(clips: EvaluationSet, manifest: Path) -> EvaluationSet:
    if not clips.examples:
        raise NoTestClips(
            f"{manifest} has no clip to evaluate on whose audio can be read; `event-detection export` writes the audio "
            "that a manifest names"
        )
    return clips
