"""The base model: a Whisper that also takes clips shorter than 30 s, with its feature extractor and tokenizer."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.models.whisper.tokenization_whisper import LANGUAGES
from transformers.utils.logging import disable_progress_bar

from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.config import MAX_CLIP_SECONDS, SAMPLE_RATE
from event_detection_pipeline.errors import PipelineError

# peft asks transformers by a name that is to go; neither concerns whoever reads our output.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
disable_progress_bar()

# A base model may say how it was once regularised. Here the adapter alone is (`LoraSettings.dropout`), and what lies
# below it runs once: its states would be kept with holes in them.
NOT_REGULARISED = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "decoder_layerdrop": 0.0,
    "apply_spec_augment": False,
}

# Clips are padded with silence to the next multiple of this, whatever the other clips of their batch are: the score of
# a clip never depends on its neighbours, and only twelve input shapes exist.
BUCKET_SECONDS = 2.5


class BaseModelUnavailable(PipelineError):
    """The base model is neither a folder nor in the local cache nor reachable on the hub, or it is no whole Whisper."""


class UnknownLanguage(PipelineError):
    """The base model does not know the configured language."""


class TrimmedWhisperEncoder(WhisperEncoder):
    """Whisper's encoder without the demand for 3000 frames: positions are cut to the length of the input.

    The encoder's cost falls with the length of the clip and the word error rate stays (docs/decisions.md).

    Attributes:
        first_layer: where `forward` begins. None takes log-mel features; a layer takes the states that enter it, which
            `states` computed before: a frozen lower part need run only once.
    """

    first_layer: int | None = None

    @contextlib.contextmanager
    def beginning_at(self, layer: int | None) -> Iterator[None]:
        """`forward` begins there in the block."""
        before, self.first_layer = self.first_layer, layer
        try:
            yield
        finally:
            self.first_layer = before

    def forward(self, input_features: torch.Tensor, attention_mask: None = None, **kwargs: object) -> BaseModelOutput:
        """Encode log-mel features (batch, mels, frames), frames even and at most 3000 of 10 ms each, or states (batch,
        frames / 2, d_model) entering `first_layer`."""
        hidden = self._embed(input_features) if self.first_layer is None else input_features
        for layer in self.layers[self.first_layer or 0 :]:
            hidden = layer(hidden, None)
        return BaseModelOutput(last_hidden_state=self.layer_norm(hidden))

    def states(self, features: torch.Tensor, layer: int) -> torch.Tensor:
        """The states entering a layer (the number of layers: leaving the last), of log-mel features."""
        *_, last = self.iter_states(features, layer)
        return last

    def iter_states(self, features: torch.Tensor, layer: int) -> Iterator[torch.Tensor]:
        """The states entering layer 0, layer 1 and so on to `layer`, one after the other."""
        hidden = self._embed(features)
        yield hidden
        for one in self.layers[:layer]:
            hidden = one(hidden, None)
            yield hidden

    def _embed(self, features: torch.Tensor) -> torch.Tensor:
        hidden = torch.nn.functional.gelu(self.conv1(features))
        hidden = torch.nn.functional.gelu(self.conv2(hidden)).permute(0, 2, 1)
        return hidden + self.embed_positions.weight[: hidden.shape[1]]


class TrimmedWhisper(WhisperForConditionalGeneration):
    """Whisper with a TrimmedWhisperEncoder; weights, names and files are those of any Whisper."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__(config)
        self.model.encoder = TrimmedWhisperEncoder(config)
        self.post_init()

    @property
    def trimmed_encoder(self) -> TrimmedWhisperEncoder:
        return cast(TrimmedWhisperEncoder, self.model.encoder)


# Fast speech is about 5 words a second, a word about 1.3 tokens: writing that runs on past this is looping. A marker
# is several tokens.
MAX_TOKENS_PER_SECOND = 8
SPARE_TOKENS = 16

TASK = "transcribe"


@dataclass(frozen=True, slots=True)
class Whisper:
    """A base model in memory, ready to be adapted."""

    name: str
    model: TrimmedWhisper
    extractor: WhisperFeatureExtractor
    tokenizer: WhisperTokenizer
    compute: Compute

    @property
    def end_of_text(self) -> int:
        """The token that ends a transcript; also pads batches, behind everything that is read."""
        return cast(int, self.tokenizer.eos_token_id)

    @property
    def prompt(self) -> list[int]:
        """The decoder's first tokens: start, language and task where the model has them, no time stamps."""
        return list(self.tokenizer.prefix_tokens)

    def features(self, clips: Sequence[np.ndarray]) -> torch.Tensor:
        """Log-mel features of clips of one bucket.

        Args:
            clips: float32 mono 16 kHz, each at most 30 s.

        Returns:
            (clips, mels, frames) in the model's dtype on its device, padded to the longest clip's bucket.
        """
        length = bucket_samples(max(len(clip) for clip in clips))
        mel = self.extractor(
            list(clips),
            sampling_rate=SAMPLE_RATE,
            max_length=length,
            return_tensors="pt",
            device=str(self.compute.device),
        ).input_features
        return mel.to(self.compute.device, self.compute.dtype)

    def write(self, clip: np.ndarray) -> str:
        """What the model in memory writes for a clip: greedily, special tokens left out. A marker is text and stays.

        Args:
            clip: float32 mono 16 kHz, at most 30 s.
        """
        # `max_length`, not `max_new_tokens`: the models' own configurations set the former, and both together warn.
        longest = SPARE_TOKENS + int(len(clip) / SAMPLE_RATE * MAX_TOKENS_PER_SECOND)
        with torch.inference_mode():
            tokens = self.model.generate(
                input_features=self.features([clip]), max_length=longest, do_sample=False, num_beams=1
            )
        (text,) = self.tokenizer.batch_decode(cast(torch.Tensor, tokens), skip_special_tokens=True)
        return text


def bucket_samples(samples: int) -> int:
    """The padded length, in samples, of a clip of that many samples (at most 30 s)."""
    bucket = int(BUCKET_SECONDS * SAMPLE_RATE)
    return min(math.ceil(max(samples, 1) / bucket) * bucket, int(MAX_CLIP_SECONDS * SAMPLE_RATE))


def load_whisper(name: str, compute: Compute, language: str = "en") -> Whisper:
    """Load a base model from the hub's cache, the hub or a local folder; safetensors only, no remote code.

    Args:
        language: ISO 639-1 code of what is spoken. Multilingual models are told; else they guess anew for each clip.

    Raises:
        BaseModelUnavailable, UnknownLanguage: with what to do about it.
        torch.OutOfMemoryError: it does not fit the card.
    """
    try:
        model = TrimmedWhisper.from_pretrained(
            name, dtype=compute.dtype, use_safetensors=True, trust_remote_code=False, **NOT_REGULARISED
        )
        extractor = WhisperFeatureExtractor.from_pretrained(name)
        multilingual = bool(getattr(model.generation_config, "is_multilingual", model.config.vocab_size >= 51865))
        tokenizer = WhisperTokenizer.from_pretrained(name)
        languages = _languages(tokenizer) if multilingual else {}
        if not tokenizer("word", add_special_tokens=False).input_ids:
            raise ValueError("its tokenizer knows no words, is tokenizer.json there?")
        if language not in (languages or ("en",)):
            raise UnknownLanguage(
                f"base model {name!r} does not know the language {language!r}; "
                + ("set `language` to a code such as de" if languages else "it is English-only: take one without .en")
            )
        if languages:
            tokenizer.set_prefix_tokens(language=language, task=TASK)
    except (PipelineError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # each of the libraries has its own for a file that is cut short, or is another's
        raise BaseModelUnavailable(
            f"base model {name!r} could not be loaded: {str(error).splitlines()[0]} "
            "Set `base_model` to a local folder, or to a model on the Hugging Face hub and see that it can be reached."
        ) from error
    _tell_generation(model, tokenizer, languages, language)
    torch.nn.Module.to(model, compute.device)
    model.eval()
    return Whisper(name, model, extractor, tokenizer, compute)


def _languages(tokenizer: WhisperTokenizer) -> dict[str, int]:
    """The token of each language that a multilingual model knows, by ISO 639-1 code."""
    known = tokenizer.get_vocab()
    return {code: known[f"<|{code}|>"] for code in LANGUAGES if f"<|{code}|>" in known}


def _tell_generation(
    model: TrimmedWhisper, tokenizer: WhisperTokenizer, languages: dict[str, int], language: str
) -> None:
    """What is written, and what of the tokens generate() must know: the model's files may leave that out."""
    token = tokenizer.convert_tokens_to_ids
    known: dict[str, Any] = {
        "is_multilingual": bool(languages),
        "no_timestamps_token_id": token("<|notimestamps|>"),
    }
    chosen: dict[str, Any] = {"forced_decoder_ids": None}  # generate() raises where it is set
    if languages:
        known["lang_to_id"] = {f"<|{code}|>": number for code, number in languages.items()}
        known["task_to_id"] = {task: token(f"<|{task}|>") for task in (TASK, "translate")}
        chosen |= {"language": language, "task": TASK}
    generation = model.generation_config
    assert generation is not None
    for key, value in ({key: value for key, value in known.items() if not hasattr(generation, key)} | chosen).items():
        setattr(generation, key, value)
