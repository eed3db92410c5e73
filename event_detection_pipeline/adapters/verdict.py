"""The gate's verdict on an adapter as it is kept beside the adapters; read without loading what it was made with."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from event_detection_pipeline.adapters.store import AdapterVersion
from event_detection_pipeline.errors import PipelineError


class BrokenEvaluation(PipelineError):
    """A saved evaluation cannot be read; the message names the file."""


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
    """The verdict of a saved evaluation, or None if there is none.

    Raises:
        BrokenEvaluation.
    """
    try:
        evaluation = json.loads(path.read_bytes())
        return TypeAdapter(Verdict).validate_python(evaluation["verdict"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise BrokenEvaluation(f"{path} is no evaluation ({why}): run the job evaluate_only") from None
