import numpy as np
import pytest

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.demo.opus import encode_ogg_opus


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("seconds", [0.05, 0.77, 10.0])
def test_opus_gives_back_the_same_sound_at_the_same_time(rate: int, seconds: float):
    time = np.arange(round(seconds * rate)) / rate
    sound = (0.3 * np.sin(2 * np.pi * (300 + 40 * time) * time)).astype(np.float32)

    heard = decode(encode_ogg_opus(sound, rate))

    assert len(heard) == round(seconds * 16_000)
    expected = sound[:: rate // 16_000]
    assert np.corrcoef(expected, heard)[0, 1] > 0.9


def test_opus_keeps_to_24_kbit_a_second():
    noise = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)

    assert 10 * 20_000 < 8 * len(encode_ogg_opus(noise)) < 10 * 50_000


def test_the_same_sound_gives_the_same_bytes():
    sound = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)

    assert encode_ogg_opus(sound) == encode_ogg_opus(sound)
