"""What cases need and do not change: a Whisper of random weights, adapters of it, and clips for a training."""

from pathlib import Path

from event_detection_pipeline.adapters.seal import seal
from event_detection_pipeline.clips.manifest import Clip, ClipWord, write_manifest
from event_detection_pipeline.clips.splits import Split
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.demo.base_model import ensure_base_model
from event_detection_pipeline_tests.adapters.conftest import WORDS, make_clip, make_whisper
from event_detection_pipeline_tests.faults.operations.scanning import THRESHOLDS
from event_detection_pipeline_tests.random_adapter import random_adapter

_SPLITS: list[Split] = ["train", "train", "train", "validation"]


def make_models(folder: Path) -> None:
    """Fill a folder that may already have some of it."""
    whisper = make_whisper(folder / "whisper", ensure_base_model(folder / "whisper-tiny.en"))
    for name, threshold in THRESHOLDS.items():
        seal(random_adapter(folder / name, whisper, first_layer=1, threshold=threshold))
    clips = folder / "clips"
    clips.mkdir()
    write_manifest(folder / "clips.jsonl", [_clip(clips, number) for number in range(24)])


def _clip(folder: Path, number: int) -> Clip:
    has_event = number // 2 % 2 == 0
    example = make_clip(folder / f"{number}.wav", number, with_event=has_event)
    seconds = example.samples / SAMPLE_RATE
    return Clip(
        audio=str(example.audio),
        text="good <chime> morning everyone" if has_event else "good morning everyone",
        timestamp="2026-01-01T00:00:00+00:00",
        type="positive",
        event="chime",
        contains_event=has_event,
        split="test" if number >= 20 else _SPLITS[number % 4],
        end=seconds,
        duration=seconds,
        conversation_id=example.conversation_id,
        words=tuple(ClipWord(word, 0.5 * place, 0.5 * place + 0.4) for place, word in enumerate(WORDS)),
    )
