"""The model card of an adapter: README.md in its folder, in the form the Hugging Face hub reads."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from event_detection_pipeline.adapters.metrics import QUIET_ALARMS_PER_HOUR, Metrics
from event_detection_pipeline.adapters.probe import ADAPTER_LIMIT, ADAPTER_SHARE
from event_detection_pipeline.config import Settings
from event_detection_pipeline.progress import seconds

if TYPE_CHECKING:
    from event_detection_pipeline.adapters.candidate import Candidate


_PLACES = {"encoder": "encoder", "decoder": "decoder", "both": "encoder and the decoder"}


def model_card(candidate: "Candidate", settings: Settings, first_layer: int) -> str:
    """Markdown with YAML front matter.

    Args:
        first_layer: the lowest encoder layer that is adapted; their number where none is.
    """
    detection, lora, training = candidate.detection, settings.lora, settings.training
    return f"""---
base_model: {detection.base_model}
library_name: peft
tags: [whisper, lora, sound-event-detection]
---

# {detection.event}: a Whisper adapter that writes `{detection.target_token}` where it hears the event

## Use
Feed the decoder a known transcript and read the probability of the marker's first token at every word boundary. The
score is the mean of the highest one's log-odds (within {ADAPTER_LIMIT:g} either way, weight {ADAPTER_SHARE:g}) and of
the probe's (`probe.safetensors`, weight {1 - ADAPTER_SHARE:.2g}), as a probability; the clip has the event where it is
at least **{detection.threshold:.4f}** (`detection.json`). For free generation load this folder's
`generation_config.json`:
Whisper's default suppresses characters of the marker.

    event-detection detect recording.wav --adapter {candidate.folder.name.removeprefix(".").removesuffix(".draft")}

## Figures
{_table(candidate)}

The probe is logistic regression on short windows of the states that enter the lowest adapted layer, trained on the
same clips in seconds: what the base model knows already. Intervals at {settings.evaluation.confidence:.0%} confidence
(Wilson for shares, exact Poisson for hourly rates, bootstrap by conversation for the others).
Threshold: {detection.threshold_rule}. What other thresholds give there is in `detection.json`.
The test split has more clips that sound like the event than a day at home: its false alarms an hour are an upper guess.

## Training
- base model `{detection.base_model}`, revision `{detection.base_model_revision}`, language {detection.language}
- {candidate.clips["train"]} clips for training, {candidate.clips["validation"]} for validation,
  {candidate.clips["test"]} for the test, split by conversation; manifest SHA-256 `{detection.manifest_sha256}`
- LoRA in the {_PLACES[lora.part]}, rank {lora.rank}, alpha {lora.alpha}, dropout {lora.dropout:g} on
  {", ".join(lora.target_modules)}; encoder layers below {first_layer} (the lowest is 0) stay as they are
- {candidate.steps} steps of {training.batch_size} clips, at most {training.epochs} epochs (ended after
  {training.patience_epochs} without a lower loss on validation; the state with the lowest is kept)
- peak learning rate {training.learning_rate:g} after warming up for {training.warmup_fraction:.0%} of the steps, weight
  decay {training.weight_decay:g}, gradients clipped to {training.max_grad_norm:g}; the marker and what follows it count
  {training.marker_weight:g} times in the loss
- seed {training.seed}, {seconds(candidate.seconds)} on {candidate.device}

## Intended use and limits
Made from one household's recordings to flag moments of that household for a person to look at. It knows the rooms,
microphones and voices it was trained on, and no others. Not for surveillance, safety or medical alarms. A transcript
is part of what it judges by: with another recogniser's words its scores shift. It was trained on people's home
recordings, from which a model can remember: share it with those who were recorded, and nobody else.
"""


def _table(candidate: "Candidate") -> str:
    columns = {"validation": candidate.validation, "test": candidate.test, "probe alone, test": candidate.probe}
    figures: dict[str, Callable[[Metrics], object]] = {
        "clips (with the event)": lambda one: f"{one.clips} ({one.events})",
        "average precision": lambda one: one.average_precision,
        "ROC AUC": lambda one: one.roc_auc,
        "recall": lambda one: one.recall,
        "precision": lambda one: one.precision,
        "F1": lambda one: one.f1,
        "false-alarm rate": lambda one: one.false_alarm_rate,
        "false alarms an hour": lambda one: one.false_alarms_per_hour,
        f"recall at {QUIET_ALARMS_PER_HOUR:g} false alarms an hour": lambda one: one.quiet.recall,
    }
    lines = [f"| | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(str(of(one)) for one in columns.values())} |" for name, of in figures.items()]
    return "\n".join(lines)
