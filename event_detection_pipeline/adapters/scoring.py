"""Scoring: the probability of the marker at every word boundary, from one pass of the decoder over a known transcript.

Nothing is generated: that is several times cheaper than greedy decoding and gives a score to rank by and to set a
threshold on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from peft import PeftModel

from event_detection_pipeline.adapters.examples import DecoderInput, Example, decoder_input, pad, read_wav
from event_detection_pipeline.adapters.marker import Marker
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.whisper import TrimmedWhisper, Whisper

BATCH_SIZE = 8  # clips; larger ones gain nothing on a CPU and little on a card


@dataclass(frozen=True, slots=True)
class ClipScore:
    """What the adapter heard in a clip: the highest marker probability, and the number of words before that place."""

    score: float
    position: int


def score_examples(
    model: torch.nn.Module,
    whisper: Whisper,
    marker: Marker,
    examples: Sequence[Example],
    *,
    states: StateCache | None = None,
) -> list[ClipScore]:
    """Score examples in their order, batched by bucket.

    Args:
        states: where the model's encoder begins above its first layer (see TrimmedWhisperEncoder.first_layer).
    """
    scores: dict[int, ClipScore] = {}
    by_bucket = sorted(range(len(examples)), key=lambda index: examples[index].bucket)
    for _, group in groupby(by_bucket, key=lambda index: examples[index].bucket):
        indices = list(group)
        for start in range(0, len(indices), BATCH_SIZE):
            batch = indices[start : start + BATCH_SIZE]
            chosen = [examples[index] for index in batch]
            inputs = [decoder_input(whisper, example.words) for example in chosen]
            with torch.inference_mode():
                features = (
                    states(chosen) if states else whisper.features([read_wav(example.audio) for example in chosen])
                )
                found = read_scores(model, whisper, marker, features, inputs)
            scores.update(zip(batch, found, strict=True))
    return [scores[index] for index in range(len(examples))]


def read_scores(
    model: torch.nn.Module,
    whisper: Whisper,
    marker: Marker,
    features: torch.Tensor,
    inputs: Sequence[DecoderInput],
) -> list[ClipScore]:
    """The scores of a prepared batch.

    Args:
        model: the base model, bare or with an adapter.
        features: (clips, mels, frames), or the states that enter the encoder's first layer (see TrimmedWhisperEncoder).
    """
    ids = pad([one.ids for one in inputs], whisper.end_of_text, features.device)
    speech = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(speech, TrimmedWhisper)
    states = speech.model(input_features=features, decoder_input_ids=ids, use_cache=False).last_hidden_state
    # Only what stands before a word is turned into probabilities: the vocabulary is wide, and most tokens are not read.
    at_boundaries = torch.cat([row[one.boundaries] for row, one in zip(states, inputs, strict=True)])
    probabilities = torch.softmax(speech.proj_out(at_boundaries).float(), dim=-1)[:, list(marker.first_ids)].sum(dim=-1)
    scores = []
    for row in probabilities.cpu().split([len(one.boundaries) for one in inputs]):
        best = int(row.argmax())
        scores.append(ClipScore(float(row[best]), best))
    return scores
