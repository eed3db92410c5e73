"""What changed from one manifest to the next, by source."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from event_detection_pipeline.clips.manifest import BrokenManifest, Clip, parse_clip


@dataclass(frozen=True, slots=True)
class Changes:
    """How many clips of each source are new, say something else than before, or are gone."""

    added: dict[str, int] = field(default_factory=dict)
    edited: dict[str, int] = field(default_factory=dict)
    retracted: dict[str, int] = field(default_factory=dict)


def compare(before: Iterable[str], after: Iterable[str]) -> Changes:
    """Compare two manifests, given as lines. Lines that are the same in both cost next to nothing."""
    old_lines, new_lines = set(before), set(after)
    old, new = _by_identity(old_lines - new_lines), _by_identity(new_lines - old_lines)
    return Changes(
        added=_count(clip for key, clip in new.items() if key not in old),
        edited=_count(clip for key, clip in new.items() if key in old),
        retracted=_count(clip for key, clip in old.items() if key not in new),
    )


def _by_identity(lines: Iterable[str]) -> dict[tuple[str, str | None], Clip]:
    clips: list[Clip] = []
    for line in lines:
        try:
            clips.append(parse_clip(line, "the manifest before"))
        except BrokenManifest:
            continue  # written by hand or by another program: it counts as not there
    return {(clip.audio, clip.version_id): clip for clip in clips}


def _count(clips: Iterable[Clip]) -> dict[str, int]:
    return dict(sorted(Counter(clip.source or clip.type for clip in clips).items()))
