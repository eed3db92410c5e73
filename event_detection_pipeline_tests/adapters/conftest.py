"""A few clips that a Whisper learns to tell apart in seconds: with a loud chime and without."""

from pathlib import Path

import numpy as np
import pytest

from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.demo.sounds import chime

WORDS = ("good", "morning", "everyone")


def make_clip(path: Path, seed: int, *, with_event: bool) -> Example:
    """2.4 s of faint noise, half of them with a chime after the first word."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.003, round(2.4 * SAMPLE_RATE)).astype(np.float32)
    if with_event:
        sound = chime(rng)[: SAMPLE_RATE * 2]
        samples[3000 : 3000 + len(sound)] += (0.5 * sound / np.abs(sound).max()).astype(np.float32)
    path.write_bytes(wav_bytes(samples))
    return Example(path, WORDS, (1,) if with_event else (), len(samples), f"conversation-{seed}")


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """24 clips, every second one with the event."""
    folder = tmp_path_factory.mktemp("clips")
    return [make_clip(folder / f"{seed}.wav", seed, with_event=seed % 2 == 0) for seed in range(24)]
