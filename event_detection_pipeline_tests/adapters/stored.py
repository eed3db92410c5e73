"""Adapters in a store, without a training: the files that lists, verdicts and promotions read."""

import json
from typing import Any

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.adapters.verdict import evaluation_path
from event_detection_pipeline.config import Settings


def add_adapter(settings: Settings, event: str = "sneeze", *, passed: bool | None = True) -> AdapterVersion:
    """A new version with its figures, and the gate's verdict on it (None: it was not evaluated)."""
    store = AdapterStore(settings.adapter_dir)
    with store.new_version(event) as (version, folder):
        (folder / "adapter_model.safetensors").write_bytes(str(version).encode())
        (folder / "metrics.json").write_text(json.dumps({"test": _FIGURES}))
        (folder / "README.md").write_text(f"# {version}\n")
    if passed is not None:
        path = evaluation_path(settings.evaluation_dir, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = "not worse than the promoted one" if passed else "average precision 0.10 is too low"
        against = str(promoted) if (promoted := store.promoted(event)) else None
        path.write_text(json.dumps({"verdict": {"passed": passed, "reason": reason, "against": against}}))
    return version


_ESTIMATE: dict[str, Any] = {"value": 0.9, "low": 0.8, "high": 0.95}
_FIGURES = {"average_precision": _ESTIMATE, "recall": _ESTIMATE, "false_alarm_rate": _ESTIMATE}
