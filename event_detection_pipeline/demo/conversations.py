"""Composes the conversations of the demo household: speech, pauses, room noise, and in some of them a sound.

Everything follows from a seed. Conversations that people have reviewed ("stash") and those that nobody has looked at
("live") share no speaker and no random numbers, so whoever is heard after training was never heard in it.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from scipy.signal import butter, sosfilt

from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.demo.sounds import EVENT_SOUND, SOUNDS, Samples, Synthesiser, at_distance
from event_detection_pipeline.demo.utterances import SpokenWord, Utterance, utterances

Role = Literal["stash", "live"]
Flaw = Literal["no audio", "corrupt audio", "no transcript", "stashed twice"]
"""What is wrong with a conversation in the database, so that it cannot be used, or only once."""

SPEAKERS: dict[Role, tuple[str, ...]] = {
    "stash": ("ada", "ben", "cleo", "dan", "eva", "finn"),
    "live": ("gus", "hana", "ivo", "june"),
}
OTHER_SOUNDS = tuple(name for name in SOUNDS if name != EVENT_SOUND)
FLAWS: tuple[Flaw, ...] = ("no audio", "corrupt audio", "no transcript", "stashed twice")

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
"""When the demo takes place; fixed, so that two fillings are equal."""
DAYS: dict[Role, tuple[float, float]] = {"stash": (7.0, 28.0), "live": (0.0, 7.0)}
"""How many days ago conversations took place: people have not reviewed the last week's."""

NAMESPACE = uuid.UUID("0c2f3fb6-5d0e-4d4b-9b53-0e0f3d1a7c11")
MIN_SECONDS = 3.0
MAX_SPOKEN_SECONDS = 13.0  # with the longest pauses and sounds no conversation exceeds 25 s
PAUSE_SECONDS = (0.4, 1.5)
SOUND_GAP_SECONDS = (-0.25, 0.8)  # between a sound and the speech beside it; negative: they overlap
SPEECH_METRES, SOUND_METRES = (0.5, 1.5), (1.5, 6.0)
SPEECH_DECIBEL = (-6.0, 2.0)  # of a speaker, against the level of the rendered speech
SOUND_DECIBEL = (0.0, 12.0)  # of a sound's loudest LOUDEST_SECONDS, against the conversation's speech
NOISE_DECIBEL = (-45.0, -25.0)  # of the background, against the conversation's speech
LOUDEST_SECONDS = 0.2
PEAK = 0.9  # what would be louder is turned down as a whole


@dataclass(frozen=True, slots=True)
class Counts:
    """How many conversations have the event, another sound, or only speech."""

    event: int
    other: int
    plain: int


@dataclass(frozen=True, slots=True)
class Composition:
    """How many conversations of each kind; the reviewed part has one more for each of the FLAWS.

    `others` are the names of the other sounds, which take turns.
    """

    stash: Counts = Counts(event=60, other=70, plain=50)
    live: Counts = Counts(event=20, other=24, plain=36)
    others: tuple[str, ...] = OTHER_SOUNDS


@dataclass(frozen=True, slots=True)
class PlacedSound:
    """A sound in a conversation, from its onset until it has died away, in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class SpokenSegment:
    """An utterance in a conversation; times are seconds from the conversation's start."""

    speaker: str
    words: tuple[SpokenWord, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True, eq=False)
class DemoConversation:
    """A conversation as it was, its audio float32 mono at 16 kHz, and what is wrong with the record of it."""

    conversation_id: str
    version_id: str
    role: Role
    created_at: datetime
    audio: Samples
    segments: tuple[SpokenSegment, ...]
    sounds: tuple[PlacedSound, ...]
    flaw: Flaw | None = None

    @property
    def seconds(self) -> float:
        return len(self.audio) / SAMPLE_RATE

    @property
    def words(self) -> tuple[SpokenWord, ...]:
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def transcript(self) -> str:
        return " ".join(segment.text for segment in self.segments)

    @property
    def has_event(self) -> bool:
        return any(sound.name == EVENT_SOUND for sound in self.sounds)


def compose(
    seed: int = 0, composition: Composition | None = None, sounds: Mapping[str, Synthesiser] = SOUNDS
) -> Iterator[DemoConversation]:
    """The conversations of the household, the reviewed ones first, kinds mixed; the same seed gives the same ones.

    Args:
        sounds: what each sound's name stands for.
    """
    composition = composition or Composition()
    parts: tuple[tuple[Role, Counts, tuple[Flaw, ...]], ...] = (
        ("stash", composition.stash, FLAWS),
        ("live", composition.live, ()),
    )
    for stream, (role, counts, flaws) in enumerate(parts):
        others = [composition.others[place % len(composition.others)] for place in range(counts.other)]
        kinds: list[str | None] = [EVENT_SOUND] * counts.event + others + [None] * counts.plain
        np.random.default_rng([seed, stream, 0]).shuffle(kinds)
        pairs = [(kind, None) for kind in kinds] + [(None, flaw) for flaw in flaws]
        for number, (kind, flaw) in enumerate(pairs, start=1):
            rng = np.random.default_rng([seed, stream, number])
            yield _conversation(f"{seed}/{role}/{number}", role, kind, flaw, sounds, rng)


def _conversation(
    name: str,
    role: Role,
    sound_name: str | None,
    flaw: Flaw | None,
    sounds: Mapping[str, Synthesiser],
    rng: np.random.Generator,
) -> DemoConversation:
    said = _said(role, rng)
    seconds = [utterance.seconds for utterance in said]
    sound, place = None, None
    if sound_name:
        sound = sounds[sound_name](rng)
        place = int(rng.integers(len(said) + 1))
        seconds.insert(place, len(sound) / SAMPLE_RATE)
    starts, end = _timeline(seconds, place, rng)
    sound_start = 0.0 if place is None else starts.pop(place)
    audio, level = _speech(round(end * SAMPLE_RATE), list(zip(starts, said, strict=True)), rng)
    audio += level * _factor(rng.uniform(*NOISE_DECIBEL)) * _background(len(audio), rng)
    placed: tuple[PlacedSound, ...] = ()
    if sound_name and sound is not None:
        _add(audio, sound_start, level * _across_the_room(sound, rng))
        placed = (PlacedSound(sound_name, sound_start, round(sound_start + len(sound) / SAMPLE_RATE, 3)),)
    return DemoConversation(
        conversation_id=str(uuid.uuid5(NAMESPACE, name)),
        version_id=str(uuid.uuid5(NAMESPACE, f"{name}/version")),
        role=role,
        created_at=(NOW - timedelta(days=rng.uniform(*DAYS[role]))).replace(microsecond=0),
        audio=(audio * min(1.0, PEAK / np.abs(audio).max())).astype(np.float32),
        segments=tuple(_segment(start, utterance) for start, utterance in zip(starts, said, strict=True)),
        sounds=placed,
        flaw=flaw,
    )


def _said(role: Role, rng: np.random.Generator) -> list[Utterance]:
    """One to four utterances of one speaker, or of two in turn."""
    speakers = rng.choice(SPEAKERS[role], size=int(rng.integers(1, 3)), replace=False)
    queues = [list(rng.permutation(len(utterances()[speaker]))) for speaker in speakers]
    said: list[Utterance] = []
    for turn in range(int(rng.choice([1, 2, 3, 4], p=[0.4, 0.35, 0.18, 0.07]))):
        speaker = turn % len(speakers)
        utterance = utterances()[speakers[speaker]][queues[speaker].pop()]
        if said and sum(spoken.seconds for spoken in said) + utterance.seconds > MAX_SPOKEN_SECONDS:
            break
        said.append(utterance)
    return said


def _timeline(seconds: list[float], sound: int | None, rng: np.random.Generator) -> tuple[list[float], float]:
    """When each of the parts begins, the `sound`-th being a sound, and when the conversation ends."""
    starts: list[float] = []
    end = 0.0
    for place, length in enumerate(seconds):
        beside_sound = sound is not None and place > 0 and place - sound in (0, 1)
        start = round(end + rng.uniform(*(SOUND_GAP_SECONDS if beside_sound else PAUSE_SECONDS)), 3)
        starts.append(start)
        end = start + length
    return starts, max(end + rng.uniform(*PAUSE_SECONDS), MIN_SECONDS)


def _speech(length: int, said: list[tuple[float, Utterance]], rng: np.random.Generator) -> tuple[Samples, float]:
    """All utterances at their times, each speaker at one place in the room; and their root mean square."""
    track = np.zeros(length, np.float32)
    places: dict[str, tuple[float, float, int]] = {}
    for start, utterance in said:
        place = (rng.uniform(*SPEECH_METRES), _factor(rng.uniform(*SPEECH_DECIBEL)), int(rng.integers(2**32)))
        metres, gain, room = places.setdefault(utterance.speaker, place)
        _add(track, start, gain * at_distance(utterance.samples, metres, np.random.default_rng(room)))
    spoken = sum(len(utterance.samples) for _, utterance in said)
    return track, float(np.sqrt(np.sum(track**2) / spoken))


def _across_the_room(sound: Samples, rng: np.random.Generator) -> Samples:
    """The sound from farther away than the speakers, at its level for speech of root mean square 1."""
    heard = at_distance(sound, rng.uniform(*SOUND_METRES), rng)
    window = min(round(LOUDEST_SECONDS * SAMPLE_RATE), len(heard))
    energy = np.cumsum(np.concatenate([[0.0], np.asarray(heard, np.float64) ** 2]))
    loudest = np.sqrt(np.max(energy[window:] - energy[:-window]) / window)
    return heard * np.float32(_factor(rng.uniform(*SOUND_DECIBEL)) / loudest)


def _background(length: int, rng: np.random.Generator) -> Samples:
    """Noise of unit power: a fan, the hum of the mains, or hiss."""
    time = np.arange(length) / SAMPLE_RATE
    hiss = rng.normal(0, 1, length)
    kind = rng.choice(["fan", "hum", "hiss"])
    if kind == "fan":
        rumble = np.asarray(sosfilt(butter(1, rng.uniform(150, 600), fs=SAMPLE_RATE, output="sos"), hiss))
        noise = rumble * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * time))
    elif kind == "hum":
        mains = rng.choice([50, 60])
        hum = sum(np.sin(2 * np.pi * mains * k * time + rng.uniform(0, 6)) / k for k in (1, 2, 3, 5))
        noise = hum + 0.2 * hiss
    else:
        noise = hiss
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


def _segment(start: float, utterance: Utterance) -> SpokenSegment:
    words = tuple(
        replace(word, start=round(start + word.start, 2), end=round(start + word.end, 2)) for word in utterance.words
    )
    return SpokenSegment(utterance.speaker, words)


def _add(track: Samples, start: float, part: Samples) -> None:
    """Mix `part` in from `start` seconds; what rings on after the end of the track is cut off."""
    first = round(start * SAMPLE_RATE)
    part = part[: len(track) - first]
    track[first : first + len(part)] += part


def _factor(decibel: float) -> float:
    return 10 ** (decibel / 20)
