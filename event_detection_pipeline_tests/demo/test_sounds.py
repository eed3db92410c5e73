import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_detection_pipeline.demo.sounds import EVENT_SOUND, NEAR_MISSES, SOUNDS, at_distance

ALL = SOUNDS | NEAR_MISSES


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_sound_is_audible_and_of_household_length(name: str, seed: int):
    sound = ALL[name](np.random.default_rng(seed))

    assert sound.dtype == np.float32
    assert sound.ndim == 1
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() == pytest.approx(1.0)
    assert 0.3 <= len(sound) / 16_000 <= 3.0


@pytest.mark.parametrize("name", ALL)
def test_a_sound_follows_from_its_generator_and_differs_between_generators(name: str):
    first, again, other = (ALL[name](np.random.default_rng(seed)) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or not np.allclose(first, other)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_chime_falls_by_a_third_to_a_fourth(seed: int):
    sound = SOUNDS[EVENT_SOUND](np.random.default_rng(seed))
    # Only the last tenths of a second belong to the second stroke alone.
    window = round(0.24 * 16_000)
    first, last = _spectrum(sound[:window]), _spectrum(sound[-window:])
    # The interval is the shift on a logarithmic axis, 10 steps a semitone, at which the second looks like the first.
    pitches = 200 * 2 ** (np.arange(600) / 120)
    a, b = (np.interp(pitches, np.fft.rfftfreq(65_536, 1 / 16_000), spectrum) for spectrum in (first, last))
    shifts = range(10, 80)
    semitones = max(shifts, key=lambda shift: float(a[shift:] @ b[: len(b) - shift])) / 10

    assert 2.5 < semitones < 5.5


def test_distance_dulls_a_sound_and_adds_a_tail_but_no_delay():
    click = np.zeros(1_600, np.float32)
    click[0] = 1.0

    near, far = (at_distance(click, metres, np.random.default_rng(0)) for metres in (0.5, 6.0))

    assert len(near) == len(far) > 1_600 + 0.19 * 16_000
    assert max(np.argmax(np.abs(near)), np.argmax(np.abs(far))) <= 1
    assert far[0] < near[0]
    assert np.sum(far[200:] ** 2) > 10 * np.sum(near[200:] ** 2)
    treble_near, treble_far = (np.abs(np.fft.rfft(heard[:40]))[-5:].mean() for heard in (near, far))
    assert treble_far < 0.5 * treble_near


def _spectrum(sound: np.ndarray) -> np.ndarray:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 65_536))
    return np.sqrt(spectrum / spectrum.max())
