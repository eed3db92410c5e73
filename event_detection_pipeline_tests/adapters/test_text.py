"""Word error rates on texts whose errors are known."""

from pathlib import Path

import pytest

from event_detection_pipeline.adapters.examples import Example, read_wav
from event_detection_pipeline.adapters.text import word_error_rate
from event_detection_pipeline.adapters.whisper import Whisper
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline.demo.utterances import utterances

MARKER = "CHIME_DETECTED"


def example(text: str, conversation: str = "a") -> Example:
    return Example(Path("a.wav"), tuple(text.split()), (), 16_000, conversation)


def test_case_punctuation_and_the_marker_are_no_errors(whisper: Whisper) -> None:
    said = [example("Good morning, everyone!"), example("tea")]
    found = word_error_rate(whisper.tokenizer, said, [f"good {MARKER} morning everyone.", f"{MARKER} Tea"], MARKER, 0.9)
    assert found.value == 0.0


def test_errors_are_summed_over_all_words(whisper: Whisper) -> None:
    said = [example("one two three four", "a"), example("five six", "b"), example("...", "c")]
    found = word_error_rate(whisper.tokenizer, said, ["one too three", "five six seven", "noise"], MARKER, 0.9)
    assert found.value == pytest.approx(3 / 6)  # a substitution, a deletion and an insertion
    assert found.low is not None and found.high is not None
    assert found.low <= 0.5 <= found.high


def test_texts_without_words_have_no_error_rate(whisper: Whisper) -> None:
    assert word_error_rate(whisper.tokenizer, [example("...")], ["noise"], MARKER, 0.9).value is None


def test_a_whisper_writes_down_what_is_said(whisper: Whisper, tmp_path: Path) -> None:
    spoken = next(iter(utterances().values()))[0]
    path = tmp_path / "said.wav"
    path.write_bytes(wav_bytes(spoken.samples))
    words = tuple(word.text for word in spoken.words)
    clip = Example(path, words, (), len(spoken.samples), "a")
    found = word_error_rate(whisper.tokenizer, [clip], [whisper.write(read_wav(clip.audio))], MARKER, 0.9)
    assert found.value is not None and found.value < 0.3
