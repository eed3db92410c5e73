"""Recordings mixed into the household's own clips: at a random pause, level, distance and room, always the same ones.

Five recordings become hundreds of clips whose label and time are known exactly. Every choice follows from the
recording, the number of the mix and the seed; a background that comes or goes changes only the mixes it is chosen for.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from event_detection_pipeline.chronicle.audio import Samples, UndecodableAudio, decode
from event_detection_pipeline.clips.cutting import Outcome
from event_detection_pipeline.clips.manifest import Clip, ClipWord
from event_detection_pipeline.clips.recordings import Recording, list_recordings, path_of
from event_detection_pipeline.clips.rejects import Reject, RejectReason, SetAside
from event_detection_pipeline.clips.text import join, pieces_of
from event_detection_pipeline.clips.wav import keep_wav
from event_detection_pipeline.config import SAMPLE_RATE, EventSettings, Settings

RECORDING = "recording"
MIX = "mix"
# `type` of a manifest line: whether it is mixed, and whether it is the event.
_TYPES = {(False, True): "recording", (True, True): "mixed", (False, False): "negative", (True, False): "negative"}

# The loudest stretch of a longer recording is mixed; what it is shorter than is heard whole.
_MAX_EVENT_SECONDS = 4.0
# What is 40 dB below the loudest moment is the silence around an event.
_SILENCE_DB = -40.0
_FRAME_SECONDS = 0.02
# Where nobody speaks a level against the background means nothing: the event gets one of its own, in dB of full scale.
_QUIET_DBFS = -55.0
_QUIET_EVENT_DBFS = (-40.0, -15.0)
# A home's rooms: length, width and height in metres, reverberation time (RT60) in seconds.
_SMALLEST_ROOM, _LARGEST_ROOM = (2.5, 2.5, 2.3), (8.0, 6.0, 3.0)
_RT60_SECONDS = (0.2, 0.6)
_WALL_DISTANCE_METRES = 0.3
_MAX_REFLECTIONS = 10  # image-source order; later echoes are too weak to tell
# Upper limits of what home microphones and their codecs let through, in Hz.
_BAND_LIMITS = (3_500.0, 7_500.0)


@dataclass(frozen=True, slots=True)
class MixTask:
    """One mix: a recording into a background clip, or alone where there is none."""

    key: str
    fingerprint: str
    recording: Recording
    recording_path: Path
    background: Clip | None
    event: str
    tag: str
    snr_db: tuple[float, float]
    seed: int
    audio_dir: Path


def mix_tasks(settings: Settings, event: EventSettings, backgrounds: Sequence[Clip], recipe: str) -> Iterator[MixTask]:
    """Each recording of the event alone and its mixes with backgrounds of its own split.

    Args:
        recipe: the digest of the settings; another recipe makes everything anew.
    """
    clips, seed = settings.clips, settings.clips.seed
    for recording in list_recordings(settings, event):
        own = [clip for clip in backgrounds if clip.split == recording.split]
        count = clips.mixes_per_recording if recording.contains_event else clips.mixes_per_other_sound
        for number in range(count + 1 if own else 1):
            key = f"recording/{recording.recording}/{number:04d}"
            background = _nearest(own, f"{key} {seed}") if number else None
            heard_in = _identity(background) if background else ()
            yield MixTask(
                key=key,
                fingerprint=_digest(recipe, recording.contains_event, recording.split, *heard_in),
                recording=recording,
                recording_path=path_of(settings, event, recording),
                background=background,
                event=event.name,
                tag=event.source_tag,
                snr_db=clips.mix_snr_db,
                seed=seed,
                audio_dir=settings.audio_dir.resolve(),
            )


def mix_clip(task: MixTask) -> Outcome:
    """Make the mix and write its clip; set aside where a file cannot be read."""
    random = np.random.default_rng(int(_digest(task.key, task.seed)[:16], 16))
    try:
        sound = _decoded(task.recording_path, "remove it and give the recording again")
        clip = _mixed(task, task.background, sound, random) if task.background else _alone(task, sound)
    except SetAside as error:
        reject = Reject(error.reason, RECORDING, task.recording.name, detail=error.detail)
        return Outcome(task.key, RECORDING, task.fingerprint, (), (reject,))
    return Outcome(task.key, clip.source, task.fingerprint, (clip,), ())


def loudest(sound: Samples, seconds: float) -> tuple[int, int]:
    """The (first, last) samples of the stretch of at most `seconds` with the most energy, less silence around it."""
    frame = round(_FRAME_SECONDS * SAMPLE_RATE)
    energy = np.add.reduceat(sound.astype(np.float64) ** 2, np.arange(0, len(sound), frame))
    heard = np.flatnonzero(energy >= energy.max() * 10 ** (_SILENCE_DB / 10))
    first, last = int(heard[0]), int(heard[-1]) + 1
    frames = round(seconds / _FRAME_SECONDS)
    if last - first > frames:
        first += int(np.convolve(energy[first:last], np.ones(frames), "valid").argmax())
        last = first + frames
    return first * frame, min(last * frame, len(sound))


def in_a_room(sound: Samples, random: np.random.Generator) -> Samples:
    """The sound as a microphone hears it somewhere in a room, at about its old length.

    A shoebox room of random size and reverberation, by the image-source method (Allen and Berkley 1979,
    https://doi.org/10.1121/1.382599), and a random upper limit of the band. Its level is arbitrary: the mix sets it.
    """
    # Imported here: SciPy costs the best part of a second, and most exports mix nothing.
    import pyroomacoustics
    from scipy.signal import butter, fftconvolve, sosfilt

    size = random.uniform(_SMALLEST_ROOM, _LARGEST_ROOM)
    absorption, order = pyroomacoustics.inverse_sabine(random.uniform(*_RT60_SECONDS), size)
    room = pyroomacoustics.ShoeBox(
        size,
        fs=SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, _MAX_REFLECTIONS),
    )
    for place in (room.add_source, room.add_microphone):
        place(random.uniform(_WALL_DISTANCE_METRES, size - _WALL_DISTANCE_METRES))
    room.compute_rir()
    assert room.rir is not None
    response = room.rir[0][0]
    # Without the way of the sound through the room the event stays where its time says.
    response = response[int(np.abs(response).argmax()) :]
    limited = butter(4, random.uniform(*_BAND_LIMITS), fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(limited, fftconvolve(sound, response)), np.float32)


def level_db(samples: Samples) -> float:
    """Root mean square in dB of full scale."""
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def _decoded(path: Path, remedy: str) -> Samples:
    try:
        return decode(path.read_bytes())
    except (OSError, UndecodableAudio) as error:
        raise SetAside(RejectReason.NO_AUDIO, f"{path}: {error}; {remedy}") from error


def _background(path: Path) -> Samples:
    try:
        return _decoded(path, "the next export cuts it again")
    except SetAside as error:
        if isinstance(error.__cause__, UndecodableAudio):
            path.unlink(missing_ok=True)  # of a file that is not there the index knows that it must be made
        raise


def _alone(task: MixTask, sound: Samples) -> Clip:
    """The recording as it is. Without the event nothing is said in it."""
    middle = sum(loudest(sound, _MAX_EVENT_SECONDS)) / 2 / SAMPLE_RATE
    return _written(task, sound, text=task.tag if task.recording.contains_event else "", words=(), time=middle)


def _mixed(task: MixTask, background: Clip, sound: Samples, random: np.random.Generator) -> Clip:
    bed = _background(Path(background.audio))
    first, last = loudest(sound, _MAX_EVENT_SECONDS)
    event = in_a_room(sound[first:last], random)
    gap, moment = _pause(background, (last - first) / SAMPLE_RATE, random)
    loudness = level_db(bed)
    quiet = loudness < _QUIET_DBFS
    wanted = random.uniform(*_QUIET_EVENT_DBFS) if quiet else loudness + random.uniform(*task.snr_db)
    event *= 10 ** ((wanted - level_db(event)) / 20)
    start = round(moment * SAMPLE_RATE)
    mixed = np.pad(bed, (0, max(start + last - first - len(bed), 0)))
    heard = event[: len(mixed) - start]  # an echo may be cut off by the end of the clip
    mixed[start : start + len(heard)] += heard
    mixed /= max(1.0, float(np.abs(mixed).max()))
    pieces = pieces_of(background.text, task.tag)
    text = join([*pieces[:gap], f" {task.tag} ", *pieces[gap:]]) if task.recording.contains_event else background.text
    time = moment + (last - first) / 2 / SAMPLE_RATE
    return _written(task, mixed, text=text, words=background.words, time=time)


def _pause(background: Clip, seconds: float, random: np.random.Generator) -> tuple[int, float]:
    """A random gap between two words (before the nth) from which the event fits, and a moment in it."""
    words = background.words
    edges = [0.0, *(word.end for word in words)], [*(word.start for word in words), background.duration]
    gaps = [(start, max(start, end)) for start, end in zip(*edges, strict=True)]
    fitting = [index for index, (start, _) in enumerate(gaps) if start + seconds <= background.duration] or [0]
    index = int(random.choice(fitting))
    start, end = gaps[index]
    return index, float(random.uniform(start, max(start, min(end, background.duration - seconds))))


def _written(task: MixTask, samples: Samples, *, text: str, words: tuple[ClipWord, ...], time: float) -> Clip:
    path = task.audio_dir / f"{task.key.replace('/', '_')}.wav"
    digest = keep_wav(path, samples)
    seconds = round(len(samples) / SAMPLE_RATE, 3)
    background = task.background
    event = task.recording.contains_event
    return Clip(
        audio=str(path),
        text=text,
        timestamp=background.timestamp if background else task.recording.added_at,
        type=_TYPES[background is not None, event],
        event=task.event,
        contains_event=event,
        split=task.recording.split,
        start=background.start if background else 0.0,
        end=round((background.start if background else 0.0) + seconds, 3),
        duration=seconds,
        source=MIX if background else RECORDING,
        conversation_id=background.conversation_id if background else f"recording-{task.recording.recording}",
        version_id=background.version_id if background else None,
        audio_sha256=digest,
        words=words,
        event_time=round(time, 3) if event else None,
        recording=task.recording.recording,
    )


def _nearest(backgrounds: Sequence[Clip], key: str) -> Clip:
    """Rendezvous hashing (Thaler and Ravishankar 1998): another choice only if this one goes or a nearer one comes."""
    return min(backgrounds, key=lambda clip: _digest(key, *_identity(clip)))


def _identity(clip: Clip) -> tuple[object, ...]:
    return clip.conversation_id, clip.version_id, clip.start, clip.audio_sha256, clip.text


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
