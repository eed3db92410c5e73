"""What is in an adapter's folder: PEFT's own two files, and beside them how to use it, how good it is and its card.

adapter_config.json, adapter_model.safetensors    PEFT; PeftModel.from_pretrained(base, folder) loads them
generation_config.json                            the base model's, with the marker allowed to be written
detection.json                                    Detection: marker, threshold and decoding settings
probe.safetensors                                 the linear probe, the adapter's second opinion and its rival
metrics.json                                      figures on the splits (written with the evaluation)
README.md                                         the model card
SHA256SUMS                                        the seal, see seal.py

What reads such a folder needs neither torch nor transformers: lists and pages open at once.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from event_detection_pipeline.adapters.seal import BrokenAdapter, verify
from event_detection_pipeline.adapters.store import NoSuchAdapter
from event_detection_pipeline.adapters.threshold import NO_CURVE, OperatingCurve
from event_detection_pipeline.files import write_atomically

if TYPE_CHECKING:
    from peft import PeftModel

    from event_detection_pipeline.adapters.whisper import Whisper

DETECTION_FILE = "detection.json"
METRICS_FILE = "metrics.json"
GENERATION_FILE = "generation_config.json"  # transformers' name


@dataclass(frozen=True, slots=True)
class Detection:
    """How to detect with an adapter (detection.json)."""

    event: str
    source_tag: str
    target_token: str
    base_model: str
    threshold: float
    threshold_rule: str
    manifest_sha256: str
    prompt: tuple[int, ...]
    operating_curve: OperatingCurve = NO_CURVE
    base_model_revision: str = ""
    language: str = "en"
    scorer: Literal["adapter", "adapter and probe"] = "adapter"


def save_adapter(folder: Path, model: "PeftModel", whisper: "Whisper", detection: Detection) -> None:
    """Write everything but metrics, card and seal."""
    from event_detection_pipeline.adapters.marker import allow_marker, marker_of

    model.save_pretrained(str(folder))
    config_file = folder / "adapter_config.json"
    config = json.loads(config_file.read_text())
    # PEFT notes the class it saw; anyone's Whisper loads the adapter, with or without this package.
    config["auto_mapping"] = {
        "base_model_class": "WhisperForConditionalGeneration",
        "parent_library": "transformers.models.whisper.modeling_whisper",
    }
    write_json(config_file, config)
    generation = whisper.model.generation_config
    assert generation is not None
    allow_marker(generation, marker_of(whisper.tokenizer, detection.target_token))
    # Not save_pretrained(), which refuses what some base models say, such as a temperature where nothing is sampled.
    generation.to_json_file(folder / GENERATION_FILE)
    write_json(folder / DETECTION_FILE, asdict(detection))


def read_detection(folder: Path) -> Detection:
    """Read detection.json of an adapter that is as it was sealed.

    Raises:
        NoSuchAdapter: the folder is missing.
        BrokenAdapter: a file is missing, was changed, or is not what it should be.
    """
    if not folder.is_dir():
        raise NoSuchAdapter(
            f"adapter directory {folder} does not exist; train one with the job retrain_adapter or "
            "`event-detection train`"
        )
    fields = read_json(folder / DETECTION_FILE)
    try:
        detection = TypeAdapter(Detection).validate_python(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise BrokenAdapter(f"{folder / DETECTION_FILE}: {key}: {problem['msg']}; train the adapter again") from None
    verify(folder)
    return detection


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of an adapter's folder. Raises BrokenAdapter."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenAdapter(f"{path}: {error}; train the adapter again") from None
    if not isinstance(value, dict):
        raise BrokenAdapter(f"{path}: not a JSON object; train the adapter again")
    return value


def write_json(path: Path, value: object) -> None:
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
