"""Synthesises the sounds of the demo household: the door chime, which is the event, and what could be mistaken for it.

A sound is float32 mono at 16 kHz with a peak of 1, 0.3 to 3 s long, and different at every call: pitch, tempo, timbre
and decay come from the generator it is given.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

from event_detection_pipeline.config import SAMPLE_RATE

Samples = NDArray[np.float32]
Synthesiser = Callable[[np.random.Generator], Samples]

BAR_PARTIALS = (1.0, 2.756, 5.404, 8.933)
"""Modes of a bar that is free at both ends, as in a door chime (Fletcher & Rossing, The Physics of Musical Instruments,
chapter 2)."""

BELL_PARTIALS = (0.5, 1.0, 1.2, 1.5, 2.0, 3.0)
"""Hum, prime, tierce, quint, nominal and superquint of a bell (ibid., chapter 21)."""


def chime(rng: np.random.Generator) -> Samples:
    """Ding-dong: two strokes on bars or bells, the second a minor third to a fourth below the first."""
    frequency = rng.uniform(500, 1000)
    return _bells([frequency, frequency * 2 ** (-rng.integers(3, 6) / 12)], rng)


def rising_chime(rng: np.random.Generator) -> Samples:
    """Dong-ding: the second stroke a minor third to a fourth above the first."""
    frequency = rng.uniform(400, 800)
    return _bells([frequency, frequency * 2 ** (rng.integers(3, 6) / 12)], rng)


def single_stroke(rng: np.random.Generator) -> Samples:
    """One stroke of a bar or bell."""
    return _bells([rng.uniform(400, 1000)], rng)


def repeated_stroke(rng: np.random.Generator) -> Samples:
    """Two or three strokes on the same bar or bell."""
    return _bells([rng.uniform(400, 1000)] * int(rng.integers(2, 4)), rng)


def reversed_chime(rng: np.random.Generator) -> Samples:
    """A chime played backwards."""
    return chime(rng)[::-1].copy()


def knock(rng: np.random.Generator) -> Samples:
    """Two to five knocks on wood: a few low modes that die within hundredths of a second."""
    modes = np.sort(rng.uniform(110, 600, 4))
    decay = rng.uniform(0.1, 0.2)
    beat = rng.uniform(0.2, 0.32)
    onsets = np.cumsum(beat * rng.uniform(0.9, 1.1, rng.integers(2, 6)))
    strokes = []
    for _ in onsets:
        body = _struck(1.0, modes, rng.uniform(0.3, 1.0, 4), decay)
        click = rng.normal(0, 0.6, len(body)) * _falling(len(body), 0.02)
        strokes.append(rng.uniform(0.6, 1.0) * (body + _band(click, 200, 2500)))
    return _sequence(strokes, onsets - onsets[0])


def beep(rng: np.random.Generator) -> Samples:
    """One to five beeps of the same pitch, as of a microwave oven or a telephone."""
    seconds = rng.uniform(0.08, 0.4)
    count = int(rng.integers(1, 6)) if seconds < 0.3 else int(rng.integers(1, 4))
    harmonics = np.arange(1, 6, 2) if rng.random() < 0.5 else np.arange(1, 3)
    tone = _sustained(rng.uniform(600, 2400), harmonics, 1 / harmonics ** rng.uniform(1, 3), max(seconds, 0.3 / count))
    return _sequence([tone] * count, np.arange(count) * (len(tone) / SAMPLE_RATE + rng.uniform(0.08, 0.35)))


def clap(rng: np.random.Generator) -> Samples:
    """Two to six claps: bursts of noise around 1 to 2 kHz, each smeared by a few milliseconds."""
    low, high = rng.uniform(600, 1200), rng.uniform(1800, 3500)
    onsets = np.cumsum(rng.uniform(0.15, 0.4) * rng.uniform(0.85, 1.15, rng.integers(2, 7)))
    strokes = []
    for _ in onsets:
        burst = np.zeros(round(0.15 * SAMPLE_RATE))
        for start in (0, *rng.integers(round(0.002 * SAMPLE_RATE), round(0.012 * SAMPLE_RATE), 2)):
            rest = len(burst) - start
            burst[start:] += rng.normal(0, 1, rest) * _falling(rest, rng.uniform(0.05, 0.12))
        strokes.append(rng.uniform(0.6, 1.0) * _band(burst, low, high))
    return _sequence(strokes, onsets - onsets[0])


def kettle(rng: np.random.Generator) -> Samples:
    """Water coming to the boil: growing hiss, and a whistle that rises and stays."""
    length = round(rng.uniform(1.5, 3.0) * SAMPLE_RATE)
    progress = np.linspace(0, 1, length)
    hiss = _band(rng.normal(0, 1, length), 400, rng.uniform(2000, 5000)) * (0.05 + 0.2 * progress)
    bottom, top = rng.uniform(500, 1000), rng.uniform(1600, 3000)
    frequency = bottom + (top - bottom) * (1 - np.exp(-progress * rng.uniform(2, 6)))
    frequency *= 1 + 0.01 * np.sin(2 * np.pi * rng.uniform(5, 12) * progress * length / SAMPLE_RATE)
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    whistle = (np.sin(phase) + rng.uniform(0, 0.3) * np.sin(2 * phase)) * progress ** rng.uniform(0.5, 2)
    return _finished((hiss + 0.6 * whistle) * _edges(length, 0.1))


def music(rng: np.random.Generator) -> Samples:
    """Five to nine notes of a melody in a major scale, plucked or sustained."""
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12])
    count = int(rng.integers(5, 10))
    walk = np.cumsum(rng.choice([-2, -1, 1, 2], count)) + rng.integers(0, 8)
    steps = 7 - np.abs(walk % 14 - 7)  # turned back at both ends of the octave
    notes = rng.uniform(220, 660) * 2 ** (scale[steps] / 12)
    beat = rng.uniform(1.6, 2.4) / count
    harmonics = np.arange(1, int(rng.integers(4, 9)))
    strengths = rng.uniform(0.3, 1.0, len(harmonics)) / harmonics ** rng.uniform(0.8, 1.8)
    plucked = rng.random() < 0.5
    tones = [
        _struck(note, harmonics, strengths, min(4 * beat, 1.0))[: round(2 * beat * SAMPLE_RATE)]
        if plucked
        else _sustained(note, harmonics, strengths, 0.95 * beat)
        for note in notes
    ]
    faded = [tone * _edges(len(tone), 0.01) for tone in tones]
    return _sequence(faded, np.arange(count) * beat)


SOUNDS: dict[str, Synthesiser] = {
    "chime": chime,
    "knock": knock,
    "beep": beep,
    "clap": clap,
    "kettle": kettle,
    "music": music,
}
EVENT_SOUND = "chime"

NEAR_MISSES: dict[str, Synthesiser] = {
    "rising chime": rising_chime,
    "single stroke": single_stroke,
    "repeated stroke": repeated_stroke,
    "reversed chime": reversed_chime,
}
"""Bars and bells that are no door chime: what a detector has to tell apart in the benchmarks, and nothing easier."""

CRITICAL_METRES = 2.5
"""Where direct and reverberant sound are equally strong: about that in a furnished living room."""


def at_distance(sound: Samples, metres: float, rng: np.random.Generator) -> Samples:
    """The sound as it is heard across a room, with the direct path at unchanged level.

    The farther, the less treble and the louder the reflections: a few early ones, and a tail of noise that falls by
    60 dB in 0.2 to 0.5 s and is as strong as the direct sound at CRITICAL_METRES. The direct sound comes without delay,
    so onsets stay where they are; the result is longer by the tail.
    """
    reverberation = rng.uniform(0.2, 0.5)
    tail = rng.normal(0, 1, round(reverberation * SAMPLE_RATE))
    tail *= _falling(len(tail), reverberation)
    tail[: round(0.02 * SAMPLE_RATE)] = 0.0
    response = tail / np.sqrt(np.sum(tail**2))
    response[rng.integers(round(0.003 * SAMPLE_RATE), round(0.03 * SAMPLE_RATE), 4)] = rng.uniform(-0.4, 0.4, 4)
    response *= metres / CRITICAL_METRES
    response[0] = 1.0
    treble = butter(1, min(9000 / metres, 7500), fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(treble, fftconvolve(sound, response)), np.float32)


def _bells(hertz: Sequence[float], rng: np.random.Generator) -> Samples:
    """Strokes on bars or bells of these frequencies, at the same distance from each other."""
    pause = rng.uniform(0.25, 0.7)
    decay = rng.uniform(0.45, 1.2)
    partials = BAR_PARTIALS if rng.random() < 0.5 else BELL_PARTIALS
    far_from_strike_note = np.abs(np.asarray(partials) - 1.0)
    strengths = np.exp(-rng.uniform(0.5, 1.5) * far_from_strike_note) * rng.uniform(0.6, 1.0, len(partials))
    return _sequence([_struck(one, partials, strengths, decay) for one in hertz], np.arange(len(hertz)) * pause)


def _struck(frequency: float, partials: Sequence[float] | NDArray, strengths: NDArray, decay: float) -> NDArray:
    """Partials that die away: the lowest falls by 40 dB in `decay` seconds, higher ones faster."""
    time = np.arange(round(1.25 * decay * SAMPLE_RATE)) / SAMPLE_RATE
    tone = np.zeros(len(time))
    for ratio, strength in zip(partials, strengths, strict=True):
        if ratio * frequency < SAMPLE_RATE / 2:
            own_decay = decay * (ratio / partials[0]) ** -0.5
            tone += strength * np.sin(2 * np.pi * ratio * frequency * time) * 10 ** (-2 * time / own_decay)
    return tone * _edges(len(tone), 0.002)


def _sustained(frequency: float, harmonics: NDArray, strengths: NDArray, seconds: float) -> NDArray:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    audible = harmonics * frequency < SAMPLE_RATE / 2
    tone = strengths[audible] @ np.sin(2 * np.pi * frequency * harmonics[audible][:, np.newaxis] * time)
    return tone * _edges(len(tone), 0.01)


def _sequence(parts: Sequence[NDArray], onsets: Sequence[float] | NDArray) -> Samples:
    """The parts mixed, each from its onset (seconds)."""
    starts = [round(onset * SAMPLE_RATE) for onset in onsets]
    mix = np.zeros(max(start + len(part) for start, part in zip(starts, parts, strict=True)))
    for start, part in zip(starts, parts, strict=True):
        mix[start : start + len(part)] += part
    return _finished(mix)


def _finished(sound: NDArray) -> Samples:
    return (sound / np.abs(sound).max()).astype(np.float32)


def _falling(length: int, seconds: float) -> NDArray:
    """An exponential that falls by 60 dB in `seconds`."""
    return 10 ** (-3 * np.arange(length) / (seconds * SAMPLE_RATE))


def _edges(length: int, seconds: float) -> NDArray:
    """1 but for a linear fade of `seconds` at both ends."""
    place = np.arange(length)
    return np.minimum(1.0, np.minimum(place, length - 1 - place) / (seconds * SAMPLE_RATE))


def _band(noise: NDArray, low: float, high: float) -> NDArray:
    return np.asarray(sosfilt(butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos"), noise))
