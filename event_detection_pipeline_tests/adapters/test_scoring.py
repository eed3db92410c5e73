"""Scores against those that a plain forward pass and a softmax over the whole vocabulary give."""

import torch

from event_detection_pipeline.adapters.examples import DecoderInput, Example, decoder_input, read_wav
from event_detection_pipeline.adapters.marker import Marker, marker_of
from event_detection_pipeline.adapters.scoring import read_scores
from event_detection_pipeline.adapters.whisper import Whisper

TRANSCRIPTS = (["good", "morning", "everyone"], [], ["somebody", "is", "at", "the", "door", "again"])


def boundaries_of(
    whisper: Whisper, marker: Marker, features: torch.Tensor
) -> list[tuple[DecoderInput, torch.Tensor, torch.Tensor]]:
    """Of each transcript with its clip alone: what the decoder reads, and at each boundary the probability of each of
    the marker's first tokens, (boundaries, spellings), and the place of the loudest."""
    found = []
    for clip, words in zip(features, TRANSCRIPTS, strict=True):
        read = decoder_input(whisper, words)
        with torch.inference_mode():
            logits = whisper.model(input_features=clip[None], decoder_input_ids=torch.tensor([read.ids])).logits[0]
        spellings = logits.float().softmax(dim=-1)[read.boundaries][:, list(marker.first_ids)]
        found.append((read, spellings, spellings.sum(dim=-1).argmax()))
    return found


def test_both_spellings_count_at_every_boundary(whisper: Whisper, examples: list[Example]) -> None:
    marker = marker_of(whisper.tokenizer, "CHIME_DETECTED")
    spaced, bare = (whisper.tokenizer(text, add_special_tokens=False).input_ids[0] for text in (" CHIME_", "CHIME_"))
    assert {*marker.first_ids} == {spaced, bare} and spaced != bare
    features = whisper.features([read_wav(example.audio) for example in examples[:3]])
    expected = boundaries_of(whisper, marker, features)
    with torch.inference_mode():
        whole = read_scores(whisper.model, whisper, marker, features, [read for read, *_ in expected])
    for index, (read, spellings, loudest) in enumerate(expected):
        together = spellings.sum(dim=-1)
        assert len(together) == len(TRANSCRIPTS[index]) + 1
        assert whole[index].position == int(loudest)
        for boundary, probability in zip(read.boundaries, together, strict=True):
            here = DecoderInput(read.ids, [boundary])
            with torch.inference_mode():
                (score,) = read_scores(whisper.model, whisper, marker, features[index : index + 1], [here])
            torch.testing.assert_close(torch.tensor(score.score), probability, rtol=1e-3, atol=0.0)
        torch.testing.assert_close(torch.tensor(whole[index].score), together[loudest], rtol=1e-2, atol=0.0)
