"""The gate's verdict on an adapter as it is kept beside the adapters; read without loading what it was made with."""

from dataclasses import dataclass
from pathlib import Path

from event_detection_pipeline.adapters.release import read_json
from event_detection_pipeline.adapters.store import AdapterVersion


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate may be promoted, and the figure that decided it, in words; `against` is the adapter that was
    promoted at the time, with which it was compared."""

    passed: bool
    reason: str
    against: str | None = None


def evaluation_path(evaluations: Path, version: AdapterVersion) -> Path:
    """Where the evaluation of an adapter is kept: not in its folder, which is immutable, since an evaluation depends on
    who was promoted when it was made."""
    return evaluations / f"{version}.json"


def read_verdict(path: Path) -> Verdict | None:
    """The verdict of a saved evaluation, or None if there is none."""
    return Verdict(**read_json(path)["verdict"]) if path.is_file() else None
