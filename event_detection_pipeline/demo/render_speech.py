"""Renders the demo household's speech once: sentences.txt to an Ogg Opus file per speaker, and speech.json beside them.

`pip install hibari-tts==0.2.1 jiwer`, then `python -m event_detection_pipeline.demo.render_speech` (some minutes). The
results are part of the package, so nobody who only uses the demo needs the synthesiser.

hibari has one voice but predicts a source-filter model (fundamental frequency, spectral envelope) that is turned into a
waveform outside the network. Speakers are made there: a higher or lower fundamental, an envelope stretched along the
frequency axis (a longer or shorter vocal tract), and a spectral tilt.
"""

import json
import logging
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soxr
import torch
from hibari import SAMPLE_RATE as VOCODER_RATE  # pyright: ignore[reportMissingImports]
from hibari import Hibari, dsp  # pyright: ignore[reportMissingImports]
from numpy.typing import NDArray
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.demo.base_model import ensure_base_model
from event_detection_pipeline.demo.opus import encode_ogg_opus

FOLDER = Path(__file__).parent / "speech"
GAP_SECONDS = 0.25  # between the utterances of a file, so that the codec does not smear one into the next
MARGIN_SECONDS = 0.06  # kept before and after the speech
LEVEL = 0.08  # root mean square of every utterance, about -22 dBFS
SILENCE = 0.01  # of the peak: what is quieter before and after an utterance is cut off

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Voice:
    """A speaker, as factors on hibari's own voice (about 190 Hz); `tilt` is in dB an octave from 1 kHz."""

    speed: float
    pitch: float
    formant: float
    tilt: float


VOICES = {
    "ada": Voice(speed=0.80, pitch=1.00, formant=1.00, tilt=0.0),
    "ben": Voice(speed=0.76, pitch=0.55, formant=0.85, tilt=-0.5),
    "cleo": Voice(speed=0.84, pitch=1.20, formant=1.08, tilt=0.5),
    "dan": Voice(speed=0.82, pitch=0.66, formant=0.90, tilt=0.5),
    "eva": Voice(speed=0.70, pitch=0.86, formant=0.96, tilt=-1.0),
    "finn": Voice(speed=0.78, pitch=1.40, formant=1.18, tilt=0.0),
    "gus": Voice(speed=0.72, pitch=0.50, formant=0.82, tilt=0.0),
    "hana": Voice(speed=0.88, pitch=1.10, formant=1.03, tilt=-0.5),
    "ivo": Voice(speed=0.80, pitch=0.60, formant=0.93, tilt=-1.0),
    "june": Voice(speed=0.76, pitch=1.30, formant=1.13, tilt=0.5),
}


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    lines = (FOLDER / "sentences.txt").read_text(encoding="utf-8").splitlines()
    sentences = [line for line in lines if line and not line.startswith("#")]
    synthesiser = Hibari()
    with tempfile.TemporaryDirectory() as scratch:
        listener = Listener(ensure_base_model(Path(scratch) / "base"))
    utterances: list[dict[str, Any]] = []
    for place, speaker in enumerate(VOICES):
        opus, said = render(synthesiser, listener, speaker, sentences[place :: len(VOICES)])
        (FOLDER / f"{speaker}.opus").write_bytes(opus)
        utterances += said
    rate = jiwer.wer(
        [listener.normal(utterance["text"]) for utterance in utterances],
        [listener.normal(_transcript(utterance["words"])) for utterance in utterances],
    )
    header = {
        "synthesiser": "hibari-tts 0.2.1",
        "listener": "Whisper tiny.en",
        "word_error_rate": round(rate, 4),
        "voices": {name: asdict(voice) for name, voice in VOICES.items()},
    }
    # An utterance a line: a rendering that changes one of them shows as one line.
    rows = ",\n".join(json.dumps(utterance) for utterance in utterances)
    text = f'{json.dumps(header)[:-1]},\n"utterances": [\n{rows}\n]}}\n'
    (FOLDER / "speech.json").write_text(text, encoding="utf-8")
    logger.info("%d of %d utterances kept, word error rate %.4f", len(utterances), len(sentences), rate)


def render(
    synthesiser: Hibari, listener: "Listener", speaker: str, sentences: list[str]
) -> tuple[bytes, list[dict[str, Any]]]:
    """One speaker's Opus file, and what is in it where; a sentence heard with more than one wrong word is left out."""
    pieces: list[NDArray[np.float32]] = []
    utterances: list[dict[str, Any]] = []
    offset = 0.0
    for text in sentences:
        speech = speak(synthesiser, text, VOICES[speaker])
        words = listener.words(decode(encode_ogg_opus(speech)))  # as it sounds after the codec
        if listener.wrong_words(text, _transcript(words)) > 1:
            logger.info("left out: %s: %r was heard as %r", speaker, text, _transcript(words))
            continue
        duration = len(speech) / SAMPLE_RATE
        place = {"speaker": speaker, "text": text, "offset": round(offset, 4), "duration": round(duration, 4)}
        utterances.append({**place, "words": words})
        pieces += [speech, np.zeros(round(GAP_SECONDS * SAMPLE_RATE), np.float32)]
        offset += duration + GAP_SECONDS
    return encode_ogg_opus(np.concatenate(pieces)), utterances


def _transcript(words: list[dict[str, Any]]) -> str:
    return " ".join(word["word"] for word in words)


def speak(synthesiser: Hibari, text: str, voice: Voice) -> NDArray[np.float32]:
    """`text` in that voice: float32 mono at 16 kHz, without silence around it, at LEVEL."""
    rng = np.random.default_rng(0)
    speed = np.asarray([voice.speed], np.float32)
    parts = []
    for phonemes in synthesiser.phonemize(text):
        ids = np.asarray([synthesiser.ids(phonemes)], np.int64)
        network: Any = synthesiser.sess.run(None, {"ids": ids, "speed": speed})
        harmonic, theta, noise, residual, phase, frequency = (output[0] for output in network)
        # harmonic, noise and residual are log magnitudes, (bins, frames)
        tilt = _tilt(len(harmonic), voice.tilt)
        harmonic, noise, residual = (_stretch(part, voice.formant) + tilt for part in (harmonic, noise, residual))
        theta = _stretch(theta, voice.formant)
        parts.append(dsp.synth(harmonic, theta, noise, residual, phase, frequency * np.float32(voice.pitch), rng))
    samples = soxr.resample(np.concatenate(parts), VOCODER_RATE, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(samples) > SILENCE * np.abs(samples).max())
    margin = round(MARGIN_SECONDS * SAMPLE_RATE)
    samples = samples[max(0, loud[0] - margin) : loud[-1] + margin]
    fade = np.minimum(1.0, np.minimum(np.arange(len(samples)), np.arange(len(samples))[::-1]) / margin)
    return (samples * fade * (LEVEL / np.sqrt(np.mean(samples**2)))).astype(np.float32)


def _stretch(spectrum: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """(bins, frames) with what was at bin b at bin b * factor."""
    position = np.minimum(np.arange(len(spectrum)) / factor, len(spectrum) - 1.0)
    low = position.astype(int)
    high = np.minimum(low + 1, len(spectrum) - 1)
    part = (position - low).astype(np.float32)[:, np.newaxis]
    return (spectrum[low] * (1 - part) + spectrum[high] * part).astype(np.float32)


def _tilt(bins: int, decibel_per_octave: float) -> NDArray[np.float32]:
    """Log-magnitude correction (bins, 1) that is 0 at 1 kHz, for bins from 0 Hz to half the vocoder's rate."""
    hertz = np.maximum(np.linspace(0, VOCODER_RATE / 2, bins), 100.0)
    return (np.log(10) / 20 * decibel_per_octave * np.log2(hertz / 1000.0)).astype(np.float32)[:, np.newaxis]


class Listener:
    """Whisper tiny.en, which hears the words and when they were said."""

    def __init__(self, base_model: Path) -> None:
        self.processor = WhisperProcessor.from_pretrained(base_model)
        self.model = WhisperForConditionalGeneration.from_pretrained(base_model).eval()
        self.normal = EnglishTextNormalizer({})

    @torch.inference_mode()
    def words(self, samples: NDArray[np.float32]) -> list[dict[str, Any]]:
        """{word, start, end, confidence} of each word; seconds from the start of `samples`.

        Times come from cross-attention (dynamic time warping over the alignment heads); compared with the synthesiser's
        own durations they are 0.04 s off in the median and 0.15 s at the ninth decile.
        """
        inputs = self.processor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
        output: Any = self.model.generate(**inputs, return_timestamps=True, return_token_timestamps=True)
        tokens, ends = output["sequences"][0], output["token_timestamps"][0].tolist()
        start = torch.tensor([self.model.generation_config.decoder_start_token_id])
        prompt = torch.cat([start, tokens])[np.newaxis]
        logits = self.model(input_features=inputs["input_features"], decoder_input_ids=prompt).logits[0, :-1]
        certain = logits.softmax(dim=-1).gather(1, tokens[:, np.newaxis])[:, 0].tolist()
        words: list[dict[str, Any]] = []
        seconds = len(samples) / SAMPLE_RATE
        for place, token in enumerate(tokens.tolist()):
            if token >= self.model.config.eos_token_id:  # a time or another special token
                continue
            text = self.processor.tokenizer.decode([token])
            if text.startswith(" ") or not words:
                begin = round(max(ends[place - 1], MARGIN_SECONDS), 2)
                words.append({"word": "", "start": begin, "end": begin, "confidence": 1.0})
            word = words[-1]
            word["word"] += text.strip()
            word["end"] = round(min(max(ends[place], word["start"]), seconds), 2)
            word["confidence"] = round(min(word["confidence"], certain[place]), 3)
        return words

    def wrong_words(self, said: str, heard: str) -> int:
        """Substitutions, insertions and deletions, case, punctuation and spelled numbers aside."""
        counts = jiwer.process_words(self.normal(said), self.normal(heard))
        return counts.substitutions + counts.insertions + counts.deletions


if __name__ == "__main__":
    main()
