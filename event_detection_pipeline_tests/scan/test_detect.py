"""Detection in files: the words and the sound of one that is longer than what is held in memory come out of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from event_detection_pipeline.adapters.batch_size import BatchSize
from event_detection_pipeline.adapters.detector import Detector, load_detectors
from event_detection_pipeline.adapters.examples import Example
from event_detection_pipeline.adapters.probe import PROBE_FILE, fit, pooled_states, save_probe
from event_detection_pipeline.adapters.release import DETECTION_FILE
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.chronicle.audio import UndecodableAudio
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings
from event_detection_pipeline.demo.utterances import utterances
from event_detection_pipeline.scan import detect as module
from event_detection_pipeline.scan.detect import detect
from event_detection_pipeline_tests.adapters.conftest import make_clip
from event_detection_pipeline_tests.random_adapter import CPU, random_adapter
from event_detection_pipeline_tests.sounds import tone

SIZE = BatchSize(4)
CLIPS = ClipSettings()


def beep(folder: Path, seed: int) -> Example:
    """Every second clip of faint noise has a beep in it."""
    example = make_clip(folder / f"{seed}.wav", seed, with_event=False)
    if seed % 2:
        return example
    samples = np.random.default_rng(seed).normal(0, 0.003, example.samples).astype(np.float32)
    samples[SAMPLE_RATE : SAMPLE_RATE + SAMPLE_RATE // 2] += tone(0.5, 1000)
    example.audio.write_bytes(wav_bytes(samples))
    return replace(example, markers=(1,), event_time=1.25)


@pytest.fixture(scope="module")
def detector(base_model: Path, whisper: Whisper, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """An adapter that knows nothing, and a probe that knows beeps."""
    folder = tmp_path_factory.mktemp("detect")
    examples = [beep(folder, seed) for seed in range(12)]
    adapter = random_adapter(folder / "beep_v1", base_model)
    save_probe(adapter / PROBE_FILE, fit(pooled_states(whisper, examples, 2), examples, 2))
    file = adapter / DETECTION_FILE
    file.write_text(file.read_text().replace('"scorer": "adapter"', '"scorer": "adapter and probe"'))
    (found,) = load_detectors([adapter], CPU)
    return found


def test_the_words_and_the_time_of_a_sound_in_a_long_file(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WINDOWS_AT_ONCE", 2)
    first, second = next(iter(utterances().values()))[:2]
    samples = np.random.default_rng(0).normal(0, 0.003, 46 * SAMPLE_RATE).astype(np.float32)
    for start, sound in ((1, first.samples), (30, tone(0.5, 1000)), (38, second.samples)):
        samples[start * SAMPLE_RATE : start * SAMPLE_RATE + len(sound)] += sound
    (tmp_path / "long.wav").write_bytes(wav_bytes(samples))
    (found,) = detect(tmp_path / "long.wav", [detector], SIZE, CLIPS)
    assert found.time == pytest.approx(30.25, abs=0.5)
    plain = detector.whisper.tokenizer.basic_normalize
    places = [plain(found.transcript).find(plain(said.transcript).strip()) for said in (first, second)]
    assert 0 <= places[0] < places[1]


@pytest.mark.parametrize("data", [b"", b"no audio", wav_bytes(np.zeros(100, np.float32))])
def test_what_cannot_be_heard_is_named(detector: Detector, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "broken.wav").write_bytes(data)
    with pytest.raises(UndecodableAudio, match=r"broken\.wav: "):
        detect(tmp_path / "broken.wav", [detector], SIZE, CLIPS)


def test_a_file_that_is_not_there_is_named(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(UndecodableAudio, match=r"nowhere\.wav: No such file"):
        detect(tmp_path / "nowhere.wav", [detector], SIZE, CLIPS)
