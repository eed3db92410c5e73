"""The model card of an adapter: README.md in its folder, in the form the Hugging Face hub reads."""

from typing import TYPE_CHECKING

from event_detection_pipeline.adapters.metrics import Metrics
from event_detection_pipeline.config import Settings
from event_detection_pipeline.progress import seconds

if TYPE_CHECKING:
    from event_detection_pipeline.adapters.candidate import Candidate


def model_card(candidate: "Candidate", settings: Settings) -> str:
    """Markdown with YAML front matter."""
    detection, lora, training = candidate.detection, settings.lora, settings.training
    return f"""---
base_model: {detection.base_model}
library_name: peft
tags: [whisper, lora, sound-event-detection]
---

# {detection.event}: a Whisper adapter that writes `{detection.target_token}` where it hears the event

## Use
Feed the decoder a known transcript and read the probability of the marker's first token at every word boundary; the
clip has the event where the highest is at least **{detection.threshold:.4f}** (`detection.json`). For free generation
load the `generation_config.json` of this folder: Whisper's default suppresses characters of the marker.

    event-detection detect recording.wav --adapter {candidate.folder.name.removeprefix(".").removesuffix(".draft")}

## Figures
{_table(candidate.validation, candidate.test)}

Intervals at {settings.evaluation.confidence:.0%} confidence (Wilson for shares, exact Poisson for hourly rates,
bootstrap by conversation for the others).
Threshold: {detection.threshold_rule}.

## Training
- {candidate.clips["train"]} clips for training, {candidate.clips["validation"]} for validation,
  {candidate.clips["test"]} for the test, split by conversation; manifest SHA-256 `{detection.manifest_sha256}`
- LoRA in the {lora.part}, rank {lora.rank}, alpha {lora.alpha}, dropout {lora.dropout:g} on
  {", ".join(lora.target_modules)}
- {candidate.steps} steps of {training.batch_size} clips at a peak learning rate of {training.learning_rate:g}, seed
  {training.seed}, {seconds(candidate.seconds)}

## Intended use and limits
Made from one household's recordings to flag moments of that household for a person to look at. It knows the rooms,
microphones and voices it was trained on, and no others. Not for surveillance, safety or medical alarms.
"""


def _table(validation: Metrics, test: Metrics) -> str:
    rows = [
        ("clips (with the event)", *(f"{m.clips} ({m.events})" for m in (validation, test))),
        ("average precision", validation.average_precision, test.average_precision),
        ("recall", validation.recall, test.recall),
        ("precision", validation.precision, test.precision),
        ("F1", validation.f1, test.f1),
        ("false-alarm rate", validation.false_alarm_rate, test.false_alarm_rate),
        ("false alarms an hour", validation.false_alarms_per_hour, test.false_alarms_per_hour),
    ]
    lines = ["| | validation | test |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {name} | {a} | {b} |" for name, a, b in rows])
