"""Examples: a clip's audio and words as what the decoder is fed, for training and for scoring."""

import os
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from event_detection_pipeline.adapters.marker import Marker, encode_word, split_at_tags
from event_detection_pipeline.adapters.whisper import Whisper, bucket_samples
from event_detection_pipeline.clips.manifest import Clip
from event_detection_pipeline.config import MAX_CLIP_SECONDS, SAMPLE_RATE, EventSettings
from event_detection_pipeline.errors import PipelineError

IGNORED = -100  # cross-entropy's label for positions without a target (PyTorch's ignore_index)
MAX_TARGET_TOKENS = 448  # Whisper's decoder positions
BYTES_PER_SAMPLE = 2


class UnusableClip(PipelineError):
    """A line of the manifest whose audio cannot be used."""


@dataclass(frozen=True, slots=True)
class Example:
    """One clip, tokenized.

    Attributes:
        audio: 16-bit mono 16 kHz WAV file.
        words: the transcript without the marker, one entry a word.
        markers: for each marker the number of words before it; empty where the event is not.
        samples: length of the audio in samples.
        conversation_id: clips of one conversation are not independent of each other.
        event_time: the middle of the event, seconds into the clip; None where it is not known.
    """

    audio: Path
    words: tuple[str, ...]
    markers: tuple[int, ...]
    samples: int
    conversation_id: str
    event_time: float | None = None

    @property
    def contains_event(self) -> bool:
        return bool(self.markers)

    @property
    def bucket(self) -> int:
        """Padded length in samples; examples of one bucket can share a batch."""
        return bucket_samples(self.samples)


def example_of(clip: Clip, event: EventSettings) -> Example:
    """The example that a line of the manifest is.

    Raises:
        UnusableClip: its audio is missing, is no 16-bit mono 16 kHz WAV, is cut short or is longer than 30 s.
    """
    try:
        with Path(clip.audio).open("rb") as raw, wave.open(raw) as file:
            samples, form = file.getnframes(), (file.getnchannels(), file.getsampwidth(), file.getframerate())
            there = os.fstat(raw.fileno()).st_size - raw.tell()  # the header ends where the samples begin
    except (OSError, EOFError, wave.Error) as error:
        raise UnusableClip(f"{clip.audio}: {error}") from None
    if form != (1, BYTES_PER_SAMPLE, SAMPLE_RATE):
        raise UnusableClip(f"{clip.audio}: not 16-bit mono {SAMPLE_RATE} Hz")
    if not 0 < samples <= MAX_CLIP_SECONDS * SAMPLE_RATE:
        raise UnusableClip(
            f"{clip.audio}: {samples / SAMPLE_RATE:.1f} s long, Whisper takes 0 to {MAX_CLIP_SECONDS:g} s"
        )
    if there < samples * BYTES_PER_SAMPLE:
        raise UnusableClip(f"{clip.audio}: cut short, it says that it has {samples} samples")
    words, markers = split_at_tags(clip.text, event)
    return Example(Path(clip.audio), tuple(words), tuple(markers), samples, clip.conversation_id, clip.event_time)


def read_wav(path: Path) -> np.ndarray:
    """A 16-bit mono WAV file as float32 in [-1, 1), shape (samples,). Clips are always written in this form."""
    with wave.open(str(path), "rb") as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return pcm.astype(np.float32) / 32768.0


@dataclass(frozen=True, slots=True)
class DecoderInput:
    """A transcript as the decoder reads it.

    Attributes:
        ids: prompt and text tokens.
        boundaries: indices into `ids` whose prediction is the first token of a word (or the end): where a marker may
            be. boundaries[i] stands before word i; there is one more of them than words.
    """

    ids: list[int]
    boundaries: list[int]


def decoder_input(whisper: Whisper, words: Sequence[str]) -> DecoderInput:
    """Feed this and read the marker's probability at the boundaries. Words beyond 448 tokens are left out."""
    ids = whisper.prompt
    boundaries = [len(ids) - 1]
    for word in words:
        tokens = encode_word(whisper.tokenizer, word)
        if len(ids) + len(tokens) > MAX_TARGET_TOKENS:
            break
        ids = ids + tokens
        boundaries.append(len(ids) - 1)
    return DecoderInput(ids, boundaries)


@dataclass(frozen=True, slots=True)
class Target:
    """What the decoder reads in training, and what it is to say then; three lists of one length.

    Attributes:
        ids: prompt and text, the marker at its places.
        labels: the next token, at last the end of the text; IGNORED inside the prompt.
        marked: whether that token is one of a marker, or the one that follows it.
    """

    ids: list[int]
    labels: list[int]
    marked: list[bool]


def training_target(whisper: Whisper, marker: Marker, example: Example) -> Target:
    """What an example teaches."""
    words = list(example.words)
    for position in sorted(example.markers, reverse=True):
        words.insert(position, marker.token)
    known = decoder_input(whisper, words)
    prompt = len(whisper.prompt)
    labels = [IGNORED] * (prompt - 1) + known.ids[prompt:] + [whisper.end_of_text]
    marked = [False] * len(labels)
    for before, position in enumerate(sorted(example.markers)):
        place = position + before
        if place + 1 < len(known.boundaries):  # else it is beyond what the decoder can read
            first, after = known.boundaries[place : place + 2]
            marked[first : after + 1] = [True] * (after + 1 - first)
    return Target(known.ids, labels, marked)


def pad(rows: Sequence[Sequence[int]], value: int, device: torch.device | None = None) -> torch.Tensor:
    """Rows of token ids as one (rows, longest) int64 tensor."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows], dtype=torch.long, device=device)
