"""Augmentation: other ways the same clip could have been recorded, by a seed; nothing in it is lost or moved apart."""

import numpy as np
from scipy.signal import butter, sosfilt

from event_detection_pipeline.config import SAMPLE_RATE

GAIN_DECIBEL = (-10.0, 6.0)
SHIFT_SECONDS = 0.5  # at most, and never beyond the padding
NOISE_DECIBEL = (-45.0, -20.0)  # of the added noise, against the clip
CUTOFF_HERTZ = (3000.0, 7500.0)  # of a first-order low-pass: another microphone, another distance


def augmented(samples: np.ndarray, room: int, rng: np.random.Generator) -> np.ndarray:
    """The clip as it would sound in another room and recorder: later, duller, louder or softer, with more noise.

    Args:
        samples: float32 mono at 16 kHz, at most 30 s.
        room: how many samples it may grow.

    Returns:
        float32, len(samples) to len(samples) + room samples.
    """
    cutoff = butter(1, rng.uniform(*CUTOFF_HERTZ), fs=SAMPLE_RATE, output="sos")
    dull = np.asarray(sosfilt(cutoff, samples))
    silence = np.zeros(rng.integers(0, min(room, round(SHIFT_SECONDS * SAMPLE_RATE)) + 1))
    later = np.concatenate([silence, dull if rng.random() < 0.5 else samples])
    level = np.sqrt(np.mean(samples**2)) * 10 ** (rng.uniform(*NOISE_DECIBEL) / 20)
    louder = (later + rng.normal(0, level, len(later))) * 10 ** (rng.uniform(*GAIN_DECIBEL) / 20)
    return np.clip(louder, -1.0, 1.0).astype(np.float32)
