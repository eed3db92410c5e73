"""What is said in the demo household: rendered utterances with their words, read from the package's own files."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.config import SAMPLE_RATE

FOLDER = Path(__file__).parent / "speech"  # written by render_speech


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word as a recogniser heard it; seconds from the start of what it is part of."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """One sentence of one speaker: float32 mono samples at 16 kHz, and its words."""

    speaker: str
    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def transcript(self) -> str:
        return " ".join(word.text for word in self.words)


@functools.cache
def utterances() -> dict[str, tuple[Utterance, ...]]:
    """All utterances by speaker, decoded once a process (about 13 minutes of speech, 50 MB)."""
    described = json.loads((FOLDER / "speech.json").read_text(encoding="utf-8"))
    found: dict[str, tuple[Utterance, ...]] = {}
    for speaker in described["voices"]:
        audio = decode((FOLDER / f"{speaker}.opus").read_bytes())
        found[speaker] = tuple(
            Utterance(speaker, _cut(audio, row["offset"], row["duration"]), tuple(_word(word) for word in row["words"]))
            for row in described["utterances"]
            if row["speaker"] == speaker
        )
    return found


def _cut(audio: NDArray[np.float32], offset: float, duration: float) -> NDArray[np.float32]:
    start = round(offset * SAMPLE_RATE)
    return audio[start : start + round(duration * SAMPLE_RATE)]


def _word(row: dict[str, float | str]) -> SpokenWord:
    return SpokenWord(str(row["word"]), float(row["start"]), float(row["end"]), float(row["confidence"]))
