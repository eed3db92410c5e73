"""Which recipe detects best: training recipes on the same clips, several seeds each; what came of it is in
docs/recipes.md.

    python -m benchmarks.recipes --quick
    python -m benchmarks.recipes --json results.json
    python -m benchmarks.recipes --recipes default,original --seeds 5 --recordings my_sounds

A seed decides the clips as well as the training. Each training runs in a process of its own, so that its memory and the
seconds of processor time can be told, which other work on the machine changes little. Speakers and sounds of the test
are never heard in training, and the other sounds are near misses (labelled.py).
"""

import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from benchmarks.common import finish, measured, parser, print_row
from benchmarks.labelled import EVENT, FULL, QUICK, labelled_clips
from event_detection_pipeline.clips.manifest import read_manifest, write_manifest
from event_detection_pipeline.config import LoraSettings, TrainingSettings
from event_detection_pipeline.demo.base_model import ensure_base_model

FALSE_ALARM_RATE = 0.05
TRANSCRIBED = 60  # clips of the test, every so many of them, that are written down


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train an adapter; or the base model as it is, with the probe of the default recipe."""

    lora: LoraSettings = field(default_factory=LoraSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    trained: bool = True


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(),
    "bare model": Recipe(trained=False),
    "original": Recipe(
        LoraSettings(rank=64, alpha=64, adapt_from_layer=0, target_modules=("q_proj", "v_proj")),
        TrainingSettings(learning_rate=1e-4, weight_decay=0.001, marker_weight=1.0),
    ),
    "whole model": Recipe(LoraSettings(adapt_from_layer=0)),
    "from the last layer": Recipe(LoraSettings(adapt_from_layer=3)),
    "decoder": Recipe(LoraSettings(part="decoder")),
    "encoder": Recipe(LoraSettings(part="encoder")),
    "rank 4": Recipe(LoraSettings(rank=4, alpha=8)),
    "attention only": Recipe(LoraSettings(target_modules=("q_proj", "v_proj"))),
    "slower": Recipe(training=TrainingSettings(learning_rate=3e-4)),
    "marker counts 1": Recipe(training=TrainingSettings(marker_weight=1.0)),
}
QUICK_RECIPES = ("default", "bare model")


def run_recipe(recipe: Recipe, manifest: Path, base_model: Path) -> dict[str, float]:
    """Train on the manifest's training clips and score its test clips: average precision of the adapter (or bare
    model), of the probe, and of both together, recall at 5 % false alarms of the latter, and the word error rate of
    what the adapter writes when it writes freely."""
    from event_detection_pipeline.adapters.candidate import load_examples
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.examples import read_wav
    from event_detection_pipeline.adapters.marker import allow_marker, marker_of
    from event_detection_pipeline.adapters.metrics import average_precision
    from event_detection_pipeline.adapters.probe import fit, joined, pooled_states
    from event_detection_pipeline.adapters.scoring import score_examples
    from event_detection_pipeline.adapters.text import word_error_rate
    from event_detection_pipeline.adapters.train import first_adapted_layer, train_adapter
    from event_detection_pipeline.adapters.whisper import load_whisper

    splits, _ = load_examples(read_manifest(manifest, source_tag=EVENT.source_tag), EVENT)
    whisper = load_whisper(str(base_model), choose_compute())
    marker = marker_of(whisper.tokenizer, EVENT.target_token)
    layers = len(whisper.model.trimmed_encoder.layers)
    depth = first_adapted_layer(recipe.lora, layers) or layers
    probe = fit(pooled_states(whisper, splits["train"], depth), splits["train"], depth)
    known = probe.scores(pooled_states(whisper, splits["test"], depth))
    model, steps = whisper.model, 0
    if recipe.trained:
        trained = train_adapter(
            whisper, marker, splits["train"], splits["validation"], lora=recipe.lora, settings=recipe.training
        )
        model, steps = trained.model, trained.steps
    heard = [found.score for found in score_examples(model, whisper, marker, splits["test"])]
    truth = [one.contains_event for one in splits["test"]]
    together = joined(heard, known)
    assert whisper.model.generation_config is not None
    allow_marker(whisper.model.generation_config, marker)
    spoken = [one for one in splits["test"] if one.words][:: len(splits["test"]) // TRANSCRIBED or 1]
    written = [whisper.write(read_wav(one.audio)) for one in spoken]
    return {
        "adapter": average_precision(truth, heard) or 0.0,
        "probe": average_precision(truth, known) or 0.0,
        "together": average_precision(truth, together) or 0.0,
        "recall": recall_at(truth, together, FALSE_ALARM_RATE),
        "word_errors": word_error_rate(whisper.tokenizer, spoken, written, marker.token, 0.95).value or 0.0,
        "steps": steps,
        "processor_seconds": time.process_time(),
    }


def recall_at(truth: Sequence[bool], scores: Sequence[float], false_alarm_rate: float) -> float:
    """The highest recall of any threshold whose false-alarm rate is at most that."""
    false_alarms, recall, _ = roc_curve(truth, scores)
    return float(np.max(recall[false_alarms <= false_alarm_rate]))


def row_of(name: str, runs: Sequence[tuple[float, float, dict[str, float]]]) -> dict[str, Any]:
    """Means over the seeds, and the lowest and highest average precision of both together."""
    found = [one for _, _, one in runs]
    means = {key: statistics.mean(one[key] for one in found) for key in found[0]}
    return {
        "recipe": name,
        "adapter_ap": round(means["adapter"], 3),
        "probe_ap": round(means["probe"], 3),
        "ap": round(means["together"], 3),
        "ap_lowest": round(min(one["together"] for one in found), 3),
        "ap_highest": round(max(one["together"] for one in found), 3),
        "recall_at_5_percent_false_alarms": round(means["recall"], 3),
        "word_error_rate": round(means["word_errors"], 3),
        "steps": round(means["steps"]),
        "processor_seconds": round(means["processor_seconds"]),
        "peak_mb": round(max(memory for _, memory, _ in runs)),
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--recipes", help="names with commas between; default: all")
    options.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    options.add_argument("--recordings", type=Path, help="a folder with event/ and other/ recordings of your own")
    chosen = options.parse_args()
    names = chosen.recipes.split(",") if chosen.recipes else QUICK_RECIPES if chosen.quick else tuple(RECIPES)
    unknown = set(names) - set(RECIPES)
    if unknown:
        raise SystemExit(f"no such recipe: {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    seeds = range(1 if chosen.quick else chosen.seeds)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        base_model = ensure_base_model(Path(folder) / "base")
        manifests = [_manifest(Path(folder) / str(seed), seed, chosen.quick, chosen.recordings) for seed in seeds]
        for name in names:
            runs = []
            for seed, manifest in zip(seeds, manifests, strict=True):
                recipe = RECIPES[name]
                settings = recipe.training.model_copy(update={"seed": seed} | ({"epochs": 2} if chosen.quick else {}))
                runs.append(measured(run_recipe, replace(recipe, training=settings), manifest, base_model))
            rows.append(row_of(name, runs))
            print_row(rows[-1])
    adapter = {row["recipe"]: row["adapter_ap"] for row in rows}
    gains = {}
    if "default" in adapter:
        default = rows[names.index("default")]
        gains = {
            f"ap_gain_over_{rival}": round(default["ap"] - default[f"{rival}_ap"], 3) for rival in ("adapter", "probe")
        }
        if "original" in adapter:
            gains["ap_gain_over_original"] = round(default["ap"] - adapter["original"], 3)
    finish(rows, gains, chosen.json)


def _manifest(folder: Path, seed: int, quick: bool, recordings: Path | None) -> Path:
    folder.mkdir()
    path = folder / "manifest.jsonl"
    write_manifest(path, labelled_clips(folder, QUICK if quick else FULL, seed=seed, recordings=recordings))
    return path


if __name__ == "__main__":
    main()
