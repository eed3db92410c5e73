"""How fast an adapter learns, and how well: the original recipe and ours on the same clips, base model and machine.

    python -m benchmarks.train --quick
    python -m benchmarks.train --json results.json

Both are judged by the scores that a scan would give to the same validation clips while they train (the original every
20 steps, ours, with its probe, after each epoch); the clocks stand still meanwhile. `time_to_equal_ap_vs_original` is
how much longer the original takes to the highest average precision that both reach, `ap_gain` the difference on the
test clips at the end. Beside them stands what ours has before its adapter takes a step: the probe. What the original is
trained and judged on is padded to 30 s, as it does. With a CUDA card, the speed of a training step on large-v3's shape
follows (random weights: only the time is of interest); without one, this is left out.
"""

import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import finish, measured, parser, print_row
from benchmarks.labelled import EVENT, FULL, QUICK, labelled_clips
from event_detection_pipeline.clips.manifest import read_manifest, write_manifest
from event_detection_pipeline.config import MAX_CLIP_SECONDS, SAMPLE_RATE, LoraSettings, TrainingSettings
from event_detection_pipeline.demo.base_model import ensure_base_model

# The original train.py.
ORIGINAL_LORA = {"r": 64, "lora_alpha": 64, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"]}
ORIGINAL_REPEATS = 5  # more of every line with the event
ORIGINAL_STEPS, ORIGINAL_EVERY = 200, 20
QUICK_STEPS, QUICK_EVERY = 4, 2
QUICK_EPOCHS = 2


@dataclass
class Curve:
    """Validation average precision against the seconds of training before it; the clock stands while it is measured."""

    points: list[tuple[float, float]] = field(default_factory=list)
    _begun: float = field(default_factory=time.perf_counter)
    _paused: float = 0.0

    def measure(self, average_precision: Any) -> float:
        """Call the function that evaluates, and keep what it says."""
        now = time.perf_counter()
        value = average_precision()
        self.points.append((now - self._begun - self._paused, value))
        self._paused += time.perf_counter() - now
        return value

    @property
    def best(self) -> float:
        return max(value for _, value in self.points)

    def seconds_to(self, average_precision: float) -> float:
        """Infinite where it never gets there."""
        return next((seconds for seconds, value in self.points if value >= average_precision), math.inf)


@dataclass(frozen=True)
class Outcome:
    curve: Curve
    steps: int
    test_ap: float


def ours(manifest: Path, base_model: Path, quick: bool) -> Outcome:
    """The default recipe: the probe, and the adapter above the same states."""
    from event_detection_pipeline.adapters import train
    from event_detection_pipeline.adapters.probe import fit, pooled_states
    from event_detection_pipeline.adapters.states import StateCache
    from event_detection_pipeline.adapters.trainer import DetectionTrainer

    whisper, marker, splits = prepared(manifest, base_model)
    settings = TrainingSettings(epochs=QUICK_EPOCHS) if quick else TrainingSettings()
    encoder = whisper.model.trimmed_encoder
    depth = train.first_adapted_layer(LoraSettings(), len(encoder.layers))
    known = {name: pooled_states(whisper, splits[name], depth) for name in ("validation", "test")}
    workplace = train.Workplace(manifest.parent / "checkpoints", manifest.parent / "states")
    curve = Curve()
    states = StateCache(whisper, depth, workplace.states, settings.state_cache_bytes)
    probe = fit(pooled_states(whisper, splits["train"], depth, states), splits["train"], depth)
    evaluate = DetectionTrainer.evaluate

    def timed(self: DetectionTrainer) -> dict[str, float]:
        metrics: dict[str, float] = {}

        def average_precision() -> float:
            metrics.update(evaluate(self))
            with encoder.beginning_at(None):  # as in a scan; training begins above the layers it keeps the states of
                return precision_of(
                    self.model, whisper, marker, splits["validation"], probe.scores(known["validation"])
                )

        curve.measure(average_precision)
        return metrics

    DetectionTrainer.evaluate = lambda self, *_args, **_kwargs: timed(self)
    trained = train.train_adapter(
        whisper,
        marker,
        splits["train"],
        splits["validation"],
        lora=LoraSettings(),
        settings=settings,
        workplace=workplace,
    )
    test_ap = precision_of(trained.model, whisper, marker, splits["test"], probe.scores(known["test"]))
    return Outcome(curve, trained.steps, test_ap)


def probe_alone(manifest: Path, base_model: Path, _quick: bool) -> Outcome:
    """What ours has before its adapter takes a step."""
    from event_detection_pipeline.adapters.metrics import average_precision
    from event_detection_pipeline.adapters.probe import fit, pooled_states
    from event_detection_pipeline.adapters.train import first_adapted_layer

    whisper, _, splits = prepared(manifest, base_model)
    depth = first_adapted_layer(LoraSettings(), len(whisper.model.trimmed_encoder.layers))
    curve = Curve()
    probe = fit(pooled_states(whisper, splits["train"], depth), splits["train"], depth)

    def precision(name: str) -> float:
        truth = [one.contains_event for one in splits[name]]
        return average_precision(truth, probe.scores(pooled_states(whisper, splits[name], depth))) or 0.0

    curve.measure(lambda: precision("validation"))
    return Outcome(curve, 0, precision("test"))


def original(manifest: Path, base_model: Path, quick: bool) -> Outcome:
    """What the original script does, without its leak: the validation clips are those of the manifest."""
    from peft import LoraConfig, get_peft_model
    from transformers import PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback, set_seed

    whisper, marker, splits = prepared(manifest, base_model)
    steps, every = (QUICK_STEPS, QUICK_EVERY) if quick else (ORIGINAL_STEPS, ORIGINAL_EVERY)
    folder = manifest.parent / "padded"
    folder.mkdir()
    validation, test = ([padded(one, folder) for one in splits[name]] for name in ("validation", "test"))
    lines = [one for one in splits["train"] for _ in range(1 + ORIGINAL_REPEATS * one.contains_event)]
    set_seed(0)
    curve = Curve()
    model: Any = get_peft_model(whisper.model, LoraConfig(**ORIGINAL_LORA))

    class Validation(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
            if state.global_step % every == 0:
                model.eval()
                curve.measure(lambda: precision_of(model, whisper, marker, validation))

    with tempfile.TemporaryDirectory() as output:
        arguments = Seq2SeqTrainingArguments(
            output_dir=output,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=4,
            warmup_steps=5,
            max_steps=steps,
            learning_rate=1e-4,
            weight_decay=0.001,
            lr_scheduler_type="linear",
            remove_unused_columns=False,
            label_names=["labels"],
            seed=3407,
            use_cpu=whisper.compute.device.type == "cpu",
            dataloader_pin_memory=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            log_level="error",
        )
        trainer = Seq2SeqTrainer(
            model=model,
            args=arguments,
            train_dataset=lines,  # pyright: ignore[reportArgumentType] - any sequence will do
            data_collator=lambda batch: original_batch(whisper, marker, batch),
            callbacks=[Validation()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()
    return Outcome(curve, steps, precision_of(model, whisper, marker, test))


def original_batch(whisper: Any, marker: Any, examples: Sequence[Any]) -> dict[str, Any]:
    """30 s of features for each clip, and its text with the marker as labels."""
    import torch

    from event_detection_pipeline.adapters.examples import IGNORED, pad, read_wav

    mel = whisper.extractor([read_wav(one.audio) for one in examples], sampling_rate=SAMPLE_RATE, return_tensors="pt")
    labels = []
    for one in examples:
        words = list(one.words)
        for position in sorted(one.markers, reverse=True):
            words.insert(position, marker.token)
        # With the start token, which the model's shift doubles: so does the original, see its collator.
        labels.append(whisper.tokenizer(" ".join(words)).input_ids)
    device, dtype = whisper.compute.device, whisper.compute.dtype
    return {
        "input_features": mel.input_features.to(device, dtype),
        "labels": pad(labels, IGNORED, torch.device(device)),
    }


def prepared(manifest: Path, base_model: Path) -> tuple[Any, Any, dict[Any, list[Any]]]:
    """The base model, the marker, and the examples of each split."""
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.examples import example_of
    from event_detection_pipeline.adapters.marker import marker_of
    from event_detection_pipeline.adapters.whisper import load_whisper

    splits: dict[Any, list[Any]] = {"train": [], "validation": [], "test": []}
    for clip in read_manifest(manifest, source_tag=EVENT.source_tag):
        splits[clip.split].append(example_of(clip, EVENT))
    whisper = load_whisper(str(base_model), choose_compute())
    return whisper, marker_of(whisper.tokenizer, EVENT.target_token), splits


def precision_of(
    model: Any, whisper: Any, marker: Any, examples: Sequence[Any], known: Sequence[float] | None = None
) -> float:
    """Average precision of the scores that a scan would give, with those of a probe where there is one."""
    from event_detection_pipeline.adapters.metrics import average_precision
    from event_detection_pipeline.adapters.probe import joined
    from event_detection_pipeline.adapters.scoring import score_examples

    scores = [found.score for found in score_examples(model, whisper, marker, examples)]
    scores = joined(scores, known) if known is not None else scores
    return average_precision([one.contains_event for one in examples], scores) or 0.0


def padded(example: Any, folder: Path) -> Any:
    """The same clip with silence up to 30 s."""
    from event_detection_pipeline.adapters.examples import read_wav
    from event_detection_pipeline.clips.wav import wav_bytes

    length = round(MAX_CLIP_SECONDS * SAMPLE_RATE)
    samples = np.zeros(length, np.float32)
    samples[: example.samples] = read_wav(example.audio)
    path = folder / example.audio.name
    path.write_bytes(wav_bytes(samples))
    return replace(example, audio=path, samples=length)


def compared(manifest: Path, base_model: Path, quick: bool) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """A row for each recipe, and the headline."""
    runs = {one.__name__: measured(one, manifest, base_model, quick) for one in (original, ours, probe_alone)}
    outcomes = {name: outcome for name, (_, _, outcome) in runs.items()}
    equal = min(outcomes[name].curve.best for name in ("original", "ours"))
    seconds = {name: outcome.curve.seconds_to(equal) for name, outcome in outcomes.items()}
    rows = [
        {
            "recipe": name.replace("_", " "),
            "steps": outcome.steps,
            "train_s": round(outcome.curve.points[-1][0], 1),
            "equal_validation_ap": round(equal, 3),
            "s_to_equal_ap": round(seconds[name], 1) if math.isfinite(seconds[name]) else None,
            "best_validation_ap": round(outcome.curve.best, 3),
            "test_ap": round(outcome.test_ap, 3),
            "peak_mb": round(runs[name][1]),
        }
        for name, outcome in outcomes.items()
    ]
    ratios = {
        "time_to_equal_ap_vs_original": round(seconds["original"] / seconds["ours"], 1),
        "ap_gain": round(outcomes["ours"].test_ap - outcomes["original"].test_ap, 3),
    }
    return rows, ratios


def main() -> None:
    chosen = parser(__doc__).parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with tempfile.TemporaryDirectory() as folder:
        base_model = ensure_base_model(Path(folder) / "base")
        manifest = Path(folder) / "manifest.jsonl"
        write_manifest(manifest, labelled_clips(Path(folder), QUICK if chosen.quick else FULL, seed=0))
        rows, ratios = compared(manifest, base_model, chosen.quick)
    finish(rows, ratios, chosen.json)
    for row in card_rows(chosen.quick):
        print_row(row)


def card_rows(quick: bool) -> Iterator[dict[str, Any]]:
    """The speed of a step on a CUDA card, where there is one."""
    import torch

    from benchmarks.train_card import rows

    if not torch.cuda.is_available():
        print("no CUDA card: the speed of a step on large-v3's shape is left out")
        return
    yield from rows(torch.device("cuda"), quick)


if __name__ == "__main__":
    main()
