"""The labelled set that recipes, training and scans are compared on: speech with a door chime, with another sound of
the household or a near miss of the chime, and with neither.

Nothing of the test is heard in training: its speakers are others (those of the demo's unreviewed conversations), and no
sound is ever the same twice. A user's recordings take the place of the synthesised sounds where a folder is given:
`DIR/event/*` and `DIR/other/*`, every second file for training, the others for the test.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.clips.manifest import Clip, ClipWord
from event_detection_pipeline.clips.mixing import loudest
from event_detection_pipeline.clips.splits import Split
from event_detection_pipeline.clips.wav import keep_wav
from event_detection_pipeline.config import EventSettings
from event_detection_pipeline.demo.conversations import (
    OTHER_SOUNDS,
    Composition,
    Counts,
    DemoConversation,
    Role,
    compose,
)
from event_detection_pipeline.demo.sounds import EVENT_SOUND, NEAR_MISSES, SOUNDS, Samples, Synthesiser

EVENT = EventSettings(name="chime", source_tag="<chime>", target_token="CHIME_DETECTED")
OTHER_RECORDING = "recording"
LONGEST_RECORDING = 3.0  # seconds, of its loudest part
VALIDATION_EVERY = 4  # of the training half's conversations

Sounds = Mapping[str, Synthesiser]
ALL_SOUNDS: Sounds = SOUNDS | NEAR_MISSES
ALL_OTHERS = (*OTHER_SOUNDS, *NEAR_MISSES)


@dataclass(frozen=True, slots=True)
class Size:
    """How many clips there are of each kind for training and validation together, and for the test."""

    training: Counts
    test: Counts


FULL = Size(training=Counts(event=48, other=72, plain=24), test=Counts(event=40, other=60, plain=20))
QUICK = Size(training=Counts(event=12, other=12, plain=4), test=Counts(event=8, other=8, plain=4))


def labelled_clips(folder: Path, size: Size, *, seed: int = 0, recordings: Path | None = None) -> list[Clip]:
    """Write the set's audio below `folder` (which exists), and return its clips with their splits.

    Args:
        recordings: a folder with `event` and `other` in it, audio files of any format.
    """
    clips = []
    seen: Counter[str] = Counter()
    halves: tuple[tuple[Role, Counts], ...] = (("stash", size.training), ("live", size.test))
    for role, counts in halves:
        sounds, others = (
            _recorded(recordings, role) if recordings else (SOUNDS | NEAR_MISSES, (*OTHER_SOUNDS, *NEAR_MISSES))
        )
        for conversation in _of_role(role, counts, seed, sounds, others):
            kind = _kind(conversation)
            seen[kind] += 1
            learnt: Split = "train" if seen[kind] % VALIDATION_EVERY else "validation"
            clips.append(_clip(folder, conversation, learnt if role == "stash" else "test"))
    return clips


def _of_role(
    role: Role, counts: Counts, seed: int, sounds: Sounds, others: tuple[str, ...]
) -> Iterator[DemoConversation]:
    nobody = Counts(event=0, other=0, plain=0)
    composition = Composition(
        stash=counts if role == "stash" else nobody, live=counts if role == "live" else nobody, others=others
    )
    return (one for one in compose(seed, composition, sounds) if one.role == role and one.flaw is None)


def _kind(conversation: DemoConversation) -> str:
    if conversation.has_event:
        return "event"
    return "other sound" if conversation.sounds else "plain speech"


def _clip(folder: Path, conversation: DemoConversation, split: Split) -> Clip:
    """The whole conversation (at most 25 s) as one clip, the tag at the place of the event."""
    path = folder / f"{conversation.conversation_id}.wav"
    digest = keep_wav(path, conversation.audio)
    events = [sound for sound in conversation.sounds if sound.name == EVENT_SOUND]
    words = [(word.start, word.text) for word in conversation.words]
    tagged = sorted([*words, *((sound.start, EVENT.source_tag) for sound in events)])
    return Clip(
        audio=str(path),
        text=" ".join(text for _, text in tagged),
        timestamp=conversation.created_at.isoformat(),
        type="positive",
        event=EVENT.name,
        contains_event=bool(events),
        split=split,
        end=conversation.seconds,
        duration=conversation.seconds,
        source=_kind(conversation),
        conversation_id=conversation.conversation_id,
        version_id=conversation.version_id,
        audio_sha256=digest,
        words=tuple(ClipWord(word.text, word.start, word.end) for word in conversation.words),
        event_time=(events[0].start + events[0].end) / 2 if events else None,
    )


def _recorded(folder: Path, role: Role) -> tuple[Sounds, tuple[str, ...]]:
    """The user's recordings for one half of the set, as sounds of which each call gives one."""
    half = 0 if role == "stash" else 1
    files = {name: sorted((folder / kind).iterdir())[half::2] for kind, name in _KINDS.items()}
    for name, found in files.items():
        if not found:
            raise SystemExit(f"{folder}: at least two recordings are needed in event/ and in other/ ({name})")
    return {name: _one_of([_sound(file) for file in found]) for name, found in files.items()}, (OTHER_RECORDING,)


_KINDS = {"event": EVENT_SOUND, "other": OTHER_RECORDING}


def _one_of(sounds: list[Samples]) -> Synthesiser:
    return lambda rng: sounds[int(rng.integers(len(sounds)))]


def _sound(file: Path) -> Samples:
    samples = decode(file.read_bytes())
    first, last = loudest(samples, LONGEST_RECORDING)
    sound = samples[first:last]
    return sound / np.abs(sound).max()
