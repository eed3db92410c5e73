"""Text quality: what an adapter writes when it writes freely, without its markers, against the manifest's words."""

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
from transformers import WhisperTokenizer

from event_detection_pipeline.adapters.detector import Detector
from event_detection_pipeline.adapters.estimate import UNKNOWN, Estimate
from event_detection_pipeline.adapters.examples import Example, read_wav
from event_detection_pipeline.adapters.metrics import bootstrap


@dataclass(frozen=True, slots=True)
class TextQuality:
    """Word error rates on the same clips, markers left out: what adapters do to the transcripts. `promoted` is None
    where no adapter was promoted."""

    clips: int
    adapter: Estimate
    base_model: Estimate
    promoted: Estimate | None = None


def choose_spoken(examples: Sequence[Example], count: int, seed: int = 0) -> list[Example]:
    """At most `count` examples that have words, always the same ones."""
    spoken = [example for example in examples if example.words]
    return [spoken[i] for i in sorted(np.random.default_rng(seed).permutation(len(spoken))[:count])]


def measure_text(detector: Detector, spoken: Sequence[Example], confidence: float) -> TextQuality | None:
    """The word error rates of the detector's adapter and of its bare base model; None without examples."""
    if not spoken:
        return None
    adapted = adapter_error_rate(detector, spoken, confidence)
    with detector.bare():
        bare = adapter_error_rate(detector, spoken, confidence)
    return TextQuality(len(spoken), adapted, bare)


def adapter_error_rate(detector: Detector, spoken: Sequence[Example], confidence: float) -> Estimate:
    """The word error rate of the detector's adapter; of its base model within `bare`."""
    (adapter,) = detector.adapters
    whisper = detector.whisper
    written = [whisper.write(read_wav(example.audio)) for example in spoken]
    return word_error_rate(whisper.tokenizer, spoken, written, adapter.marker.token, confidence)


def word_error_rate(
    tokenizer: WhisperTokenizer,
    examples: Sequence[Example],
    written: Sequence[str],
    marker: str,
    confidence: float,
) -> Estimate:
    """Word errors of all examples over their words, markers, case and punctuation left out; resampled by conversation.

    Args:
        written: what was transcribed for each example.
        marker: the target token, such as EVENT_DETECTED.
    """
    errors, words = [], []
    for example, text in zip(examples, written, strict=True):
        reference = tokenizer.basic_normalize(" ".join(example.words)).split()
        hypothesis = tokenizer.basic_normalize(text.replace(marker, " ")).split()
        # jiwer refuses an empty reference; a text that is only punctuation has no words to get wrong.
        found = jiwer.process_words(" ".join(reference), " ".join(hypothesis)) if reference else None
        errors.append(found.substitutions + found.deletions + found.insertions if found else 0)
        words.append(len(reference))
    wrong, spoken = np.array(errors), np.array(words)

    def rate(index: np.ndarray) -> float | None:
        return float(wrong[index].sum() / spoken[index].sum()) if spoken[index].any() else None

    value = rate(np.arange(len(examples)))
    if value is None:
        return UNKNOWN
    return Estimate(value, *bootstrap(rate, [example.conversation_id for example in examples], confidence))
