"""Scoring: the probability of the marker at every word boundary, from one pass of the decoder over a known transcript.

Nothing is generated: that is several times cheaper than greedy decoding and gives a score to rank by and to set a
threshold on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel

from event_detection_pipeline.adapters.batch_size import BatchSize, clips_at_once, in_batches
from event_detection_pipeline.adapters.examples import DecoderInput, Example, decoder_input, pad, read_wav
from event_detection_pipeline.adapters.marker import Marker
from event_detection_pipeline.adapters.states import StateCache
from event_detection_pipeline.adapters.whisper import TrimmedWhisper, Whisper

# Rows of logits made probabilities at a time: in float32 they fill 3 MB of cache. All at once they go through memory,
# which takes a CPU twice as long.
SOFTMAX_ROWS = 16


@dataclass(frozen=True, slots=True)
class ClipScore:
    """What was heard in a clip.

    Attributes:
        score: the probability of the event, of the adapter alone or joined with a probe's.
        position: the number of words before the place where the adapter would write the marker.
        time: seconds into the clip where the probe heard it; None where it has no say.
    """

    score: float
    position: int
    time: float | None = None


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

    def score(batch: list[int]) -> list[ClipScore]:
        chosen = [examples[index] for index in batch]
        inputs = [decoder_input(whisper, example.words) for example in chosen]
        with torch.inference_mode():
            features = states(chosen) if states else whisper.features([read_wav(example.audio) for example in chosen])
            return read_scores(model, whisper, marker, features, inputs)

    return in_batches([example.bucket for example in examples], BatchSize(clips_at_once(whisper)), score)


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
    logits = speech.proj_out(at_boundaries).split(SOFTMAX_ROWS)
    heard = [torch.softmax(rows.float(), dim=-1)[:, list(marker.first_ids)].sum(dim=-1) for rows in logits]
    scores = []
    for row in torch.cat(heard).cpu().split([len(one.boundaries) for one in inputs]):
        best = int(row.argmax())
        scores.append(ClipScore(float(row[best]), best))
    return scores
