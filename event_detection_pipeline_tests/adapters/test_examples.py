"""A line of a manifest becomes an example, or is left out with the reason."""

from pathlib import Path

import numpy as np
import pytest

from event_detection_pipeline.adapters.evaluation_set import usable
from event_detection_pipeline.adapters.examples import UnusableClip, example_of
from event_detection_pipeline.clips.manifest import Clip
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline.config import SAMPLE_RATE, EventSettings

EVENT = EventSettings(name="chime")
WAV = wav_bytes(np.random.default_rng(0).normal(0, 0.1, 2 * SAMPLE_RATE).astype(np.float32))


def clip(path: Path, data: bytes) -> Clip:
    path.write_bytes(data)
    return Clip(audio=str(path), text="good morning", timestamp="2026-11-01T12:00:00+00:00", type="positive")


@pytest.mark.parametrize("missing", [1, 2, 1001, len(WAV) - 45, len(WAV) - 44])
def test_a_file_that_was_cut_short_is_left_out(tmp_path: Path, missing: int) -> None:
    with pytest.raises(UnusableClip, match=r"cut\.wav: cut short"):
        example_of(clip(tmp_path / "cut.wav", WAV[:-missing]), EVENT)


def test_what_stands_around_the_samples_does_not_count(tmp_path: Path) -> None:
    note = b"LIST" + (4).to_bytes(4, "little") + b"note"
    head, samples = WAV[:36], WAV[36:]
    whole = clip(tmp_path / "whole.wav", head + note + samples + note)
    cut = clip(tmp_path / "cut.wav", head + note + samples[:-2])
    found = usable([whole, cut], EVENT)
    assert found.clips == (whole,)
    assert found.examples[0].samples == 2 * SAMPLE_RATE
