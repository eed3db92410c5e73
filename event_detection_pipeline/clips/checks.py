"""What must be true of a manifest before anything is trained on it, each as one plain function."""

import hashlib
import wave
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from event_detection_pipeline.clips.manifest import BrokenManifest, Clip, read_manifest
from event_detection_pipeline.clips.splits import Split
from event_detection_pipeline.clips.text import MAX_LABEL_TOKENS, label_tokens
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings, EventSettings

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# More than this many others to one event and the event is drowned; fewer than one in this many and nothing is learned.
_MAX_IMBALANCE = 10.0
_DURATION_TOLERANCE_SECONDS = 0.01
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Whether a check passed, in a sentence and in numbers; `blocking` where training on it would be wrong."""

    passed: bool
    message: str
    blocking: bool = True
    numbers: dict[str, float] = field(default_factory=dict)
    examples: tuple[str, ...] = ()


def check_schema(path: Path, event: EventSettings) -> CheckResult:
    """Every line is a clip of this event with a readable time stamp, and its tag is in the text if the event is."""
    try:
        clips = read_manifest(path)
    except BrokenManifest as error:
        return CheckResult(False, str(error))
    problems = [
        f"{path.name}:{number}: {problem}" for number, clip in enumerate(clips, 1) for problem in _problems(clip, event)
    ]
    return _result(problems, len(clips), "lines are not valid clips")


def check_leakage(clips: Sequence[Clip]) -> CheckResult:
    """No conversation, and no recording, is in two splits: a test on what was trained on proves nothing."""
    splits: dict[str, set[str]] = {}
    for clip in clips:
        for name in (clip.conversation_id, clip.recording and f"recording {clip.recording}"):
            if name:
                splits.setdefault(name, set()).add(clip.split)
    both = [f"{name}: {', '.join(sorted(where))}" for name, where in splits.items() if len(where) > 1]
    return _result(both, len(splits), "conversations or recordings are in more than one split")


def check_audio(clips: Sequence[Clip]) -> CheckResult:
    """Every clip's audio is there, is what was written (SHA-256), and is as long as the manifest says."""
    problems = [f"{clip.audio}: {problem}" for clip in clips if (problem := _audio_problem(clip))]
    return _result(problems, len(clips), "clips have no audio, or another than the manifest says")


def check_label_lengths(clips: Sequence[Clip]) -> CheckResult:
    """No text is longer than what Whisper's decoder can write."""
    lengths = [label_tokens(clip.text) for clip in clips]
    too_long = [clip.audio for clip, length in zip(clips, lengths, strict=True) if length > MAX_LABEL_TOKENS]
    result = _result(too_long, len(clips), f"texts may have more than {MAX_LABEL_TOKENS} tokens")
    result.numbers["most tokens (upper estimate)"] = max(lengths, default=0)
    return result


def check_enough(clips: Sequence[Clip], settings: ClipSettings) -> CheckResult:
    """Each split has at least `min_events_per_split` clips with the event and `min_others_per_split` without it."""
    counts = Counter((clip.split, clip.contains_event) for clip in clips)
    missing = [
        f"{split}: {counts[split, contains]} clips {word} the event, {needed} are needed"
        for contains, word, needed in (
            (True, "with", settings.min_events_per_split),
            (False, "without", settings.min_others_per_split),
        )
        for split in SPLITS
        if counts[split, contains] < needed
    ]
    numbers: dict[str, float] = {
        f"{split} {'with' if has else 'without'}": counts[split, has] for split in SPLITS for has in (True, False)
    }
    message = "; ".join(missing) or "every split has clips with and without the event"
    return CheckResult(not missing, message, numbers=numbers)


def check_balance(clips: Sequence[Clip]) -> CheckResult:
    """In training neither class outnumbers the other more than ten times; a warning, for the trainer weighs classes."""
    train = [clip.contains_event for clip in clips if clip.split == "train"]
    events, others = sum(train), len(train) - sum(train)
    ratio = max(events, others) / max(1, min(events, others))
    message = f"{events} clips with the event to {others} without it in training"
    return CheckResult(
        ratio <= _MAX_IMBALANCE, message, blocking=False, numbers={"with": events, "without": others, "ratio": ratio}
    )


def _problems(clip: Clip, event: EventSettings) -> Iterable[str]:
    if clip.event != event.name:
        yield f"event is {clip.event!r}, not {event.name!r}"
    if clip.contains_event != (event.source_tag in clip.text):
        yield f"contains_event is {clip.contains_event}, the text says otherwise"
    if not clip.conversation_id:
        yield "conversation_id is missing"
    if clip.duration <= 0 or abs(clip.end - clip.start - clip.duration) > _DURATION_TOLERANCE_SECONDS:
        yield f"duration {clip.duration} s does not fit {clip.start} to {clip.end} s"
    try:
        aware = datetime.fromisoformat(clip.timestamp).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        yield f"timestamp {clip.timestamp!r} is not ISO 8601 with a time zone"


def _audio_problem(clip: Clip) -> str | None:
    try:
        data = Path(clip.audio).read_bytes()
        with wave.open(clip.audio, "rb") as file:
            form = file.getframerate(), file.getnchannels(), file.getsampwidth()
            seconds = file.getnframes() / file.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        return str(error)
    if form != (SAMPLE_RATE, 1, 2):
        return f"not 16-bit mono {SAMPLE_RATE} Hz"
    if abs(seconds - clip.duration) > _DURATION_TOLERANCE_SECONDS:
        return f"{seconds:.3f} s long, the manifest says {clip.duration} s"
    if clip.audio_sha256 and hashlib.sha256(data).hexdigest() != clip.audio_sha256:
        return "changed since it was written"
    return None


def _result(problems: Sequence[str], total: int, what: str) -> CheckResult:
    message = f"{len(problems)} of {total} {what}" if problems else f"all {total} are right"
    return CheckResult(
        not problems, message, numbers={"wrong": len(problems), "all": total}, examples=tuple(problems[:_EXAMPLES])
    )
