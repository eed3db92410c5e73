"""Timing: when an adapter heard the event, against when the manifest says it was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from event_detection_pipeline.adapters.estimate import Estimate
from event_detection_pipeline.adapters.metrics import proportion
from event_detection_pipeline.adapters.scoring import ClipScore
from event_detection_pipeline.clips.manifest import Clip

COLLAR_SECONDS = 1.0  # a person who is played a flag finds the event at once when it is this near


@dataclass(frozen=True, slots=True)
class Timing:
    """How near the found times are, on flagged clips with the event whose time is known.

    Attributes:
        median_error: seconds between the found and the known time.
        within_collar: share of the clips with an error of at most `collar_seconds`, with Wilson's interval.
    """

    clips: int
    median_error: float
    within_collar: Estimate
    collar_seconds: float = COLLAR_SECONDS


def measure_timing(
    clips: Sequence[Clip], found: Sequence[ClipScore], threshold: float, confidence: float
) -> Timing | None:
    """None where no flagged clip has both times."""
    errors = []
    for clip, score in zip(clips, found, strict=True):
        time = time_of(clip, score.position) if score.time is None else score.time
        if clip.event_time is not None and time is not None and score.score >= threshold:
            errors.append(abs(time - clip.event_time))
    if not errors:
        return None
    near = sum(error <= COLLAR_SECONDS for error in errors)
    return Timing(len(errors), float(np.median(errors)), proportion(near, len(errors), confidence))


def time_of(clip: Clip, position: int) -> float | None:
    """Seconds into the clip of the middle of the pause before the `position`-th word; None without word times."""
    if not clip.words or position > len(clip.words):
        return None
    before = clip.words[position - 1].end if position > 0 else 0.0
    after = clip.words[position].start if position < len(clip.words) else clip.duration
    return (before + after) / 2
