"""How fast a scan is, and how well it detects: ours beside the original's way and beside faster-whisper.

    python -m benchmarks.scan --quick
    python -m benchmarks.scan --json results.json
    python -m benchmarks.scan --adapter data/adapters/chime_v1

One adapter detects in the same audio, read from the same database and decoded by the same code, in three ways:
`generate` writes the transcript of one padded 30 s window after the other with transformers, as the original does;
`faster_whisper` does so in batches with the adapter merged and converted to CTranslate2 (greedy, no voice filter: that
loses events); both look for the marker in the text and write nothing. `ours` is the whole scan, with its writes. All
use the same cores; loading models and converting is not counted.

`short` are conversations of 3 to 25 s, of which it is known whether a chime is in them: average precision. `long` are
recordings of minutes made of the same, so that no window of anybody is mostly padding: speed, and the ratios. Two and
four events are copies of the adapter. With a CUDA card, the speed on large-v3's shape follows.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pymongo.database import Database

from benchmarks.common import database_server, finish, measured, parser, print_row
from benchmarks.labelled import EVENT, FULL, QUICK, labelled_clips
from event_detection_pipeline.adapters.release import DETECTION_FILE, read_detection
from event_detection_pipeline.chronicle.audio import Samples, decode
from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS, CONVERSATIONS, EVENT_SCANS, connect
from event_detection_pipeline.clips.manifest import Clip, write_manifest
from event_detection_pipeline.config import (
    MAX_CLIP_SECONDS,
    SAMPLE_RATE,
    ClipSettings,
    ScanSettings,
    Settings,
    TrainingSettings,
)
from event_detection_pipeline.demo.base_model import ensure_base_model
from event_detection_pipeline.demo.opus import encode_ogg_opus
from event_detection_pipeline_tests.chronicle.whole import whole_audio

CHUNK_SECONDS = 10
LONG_CLIPS = 40  # short conversations that make a long one: about seven minutes, Chronicle's average
EVENTS = (1, 2, 4)
FASTER_WHISPER_BATCH = 8  # its own default
QUICK_EPOCHS = 2
WINDOW = int(MAX_CLIP_SECONDS * SAMPLE_RATE)


@dataclass(frozen=True)
class Heard:
    """What one way of detecting took and found: seconds, and a score for each conversation."""

    seconds: float
    audio_seconds: float
    scores: dict[str, float]


def fill(database: Database[dict[str, Any]], conversations: dict[str, Sequence[Clip]]) -> None:
    """Store each conversation, its clips one after the other, as Chronicle does."""
    for id_, clips in conversations.items():
        parts = [decode(Path(clip.audio).read_bytes()) for clip in clips]
        starts = np.cumsum([0, *(len(part) / SAMPLE_RATE for part in parts)])
        words = [
            {"word": word.word, "start": float(start + word.start), "end": float(start + word.end)}
            for start, clip in zip(starts, clips, strict=False)
            for word in clip.words
        ]
        version = {"version_id": f"{id_}-v1", "transcript": " ".join(w["word"] for w in words), "words": words}
        samples, step = np.concatenate(parts), CHUNK_SECONDS * SAMPLE_RATE
        pieces = [samples[start : start + step] for start in range(0, len(samples), step)]
        database[AUDIO_CHUNKS].insert_many(
            {
                "conversation_id": id_,
                "chunk_index": index,
                "audio_data": encode_ogg_opus(piece),
                "duration": len(piece) / SAMPLE_RATE,
            }
            for index, piece in enumerate(pieces)
        )
        database[CONVERSATIONS].insert_one(
            {
                "conversation_id": id_,
                "created_at": datetime(2026, 1, 1, tzinfo=UTC),
                "active_transcript_version": version["version_id"],
                "transcript_versions": [version],
            }
        )


def stored(uri: str, name: str) -> Iterator[tuple[str, Samples]]:
    """The audio of each conversation, decoded from the database."""
    database = connect(uri, name)
    for document in database[CONVERSATIONS].find({}, {"conversation_id": 1}):
        yield document["conversation_id"], whole_audio(database, document["conversation_id"]).samples


def windows(samples: Samples) -> list[Samples]:
    return [samples[start : start + WINDOW] for start in range(0, len(samples), WINDOW)]


def train(manifest: Path, folder: Path, base_model: Path, data_dir: Path, quick: bool) -> float:
    """Train the adapter that all ways of detecting use; its threshold."""
    from event_detection_pipeline.adapters.candidate import train_candidate
    from event_detection_pipeline.adapters.device import choose_compute

    training = TrainingSettings(epochs=QUICK_EPOCHS) if quick else TrainingSettings()
    settings = Settings(base_model=str(base_model), data_dir=data_dir, events=(EVENT,), training=training)
    folder.mkdir(parents=True)
    return train_candidate(manifest, folder, EVENT, settings, choose_compute()).detection.threshold


def generate(uri: str, name: str, folder: Path) -> Heard:
    """The original's way: Whisper with its adapter writes one window after the other."""
    import torch
    from peft import PeftModel
    from transformers import GenerationConfig, WhisperForConditionalGeneration, WhisperProcessor

    detection = read_detection(folder)
    processor = WhisperProcessor.from_pretrained(detection.base_model)
    assert isinstance(processor, WhisperProcessor)
    base = WhisperForConditionalGeneration.from_pretrained(detection.base_model)
    model: Any = PeftModel.from_pretrained(base, str(folder)).eval()
    generation = GenerationConfig.from_pretrained(str(folder))
    scores: dict[str, float] = {}
    begun, seconds = time.perf_counter(), 0.0
    for id_, samples in stored(uri, name):
        scores[id_], seconds = 0.0, seconds + len(samples) / SAMPLE_RATE
        for window in windows(samples):
            features = processor(window, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
            with torch.no_grad():
                tokens = model.generate(input_features=features, generation_config=generation)
            (text,) = processor.batch_decode(tokens, skip_special_tokens=True)
            scores[id_] = max(scores[id_], float(detection.target_token in text))
    return Heard(time.perf_counter() - begun, seconds, scores)


def convert(folder: Path, merged: Path) -> None:
    """The adapter merged into its base model, as CTranslate2 takes it: int8 and float32."""
    import ctranslate2
    from peft import PeftModel
    from transformers import GenerationConfig, WhisperForConditionalGeneration, WhisperProcessor

    base_model = read_detection(folder).base_model
    base = WhisperForConditionalGeneration.from_pretrained(base_model)
    model: Any = PeftModel.from_pretrained(base, str(folder)).merge_and_unload()
    model.generation_config = GenerationConfig.from_pretrained(str(folder))
    model.save_pretrained(str(merged))
    WhisperProcessor.from_pretrained(base_model).save_pretrained(str(merged))
    shutil.copy(Path(base_model) / "tokenizer.json", merged)
    converter = ctranslate2.converters.TransformersConverter(str(merged), copy_files=["tokenizer.json"])
    for precision in ("int8", "float32"):
        converter.convert(str(merged / precision), quantization=precision)


def faster_whisper(uri: str, name: str, model: Path, target_token: str) -> Heard:
    """All windows of all conversations in full batches: fuller ones than a loop over files would give it."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    pipeline = BatchedInferencePipeline(
        WhisperModel(str(model), device="cpu", compute_type=model.name, cpu_threads=os.cpu_count() or 1)
    )
    begun = time.perf_counter()
    owners, parts = [], []
    for id_, samples in stored(uri, name):
        for window in windows(samples):
            owners.append(id_)
            parts.append(window)
    ends = np.cumsum([len(part) for part in parts]) / SAMPLE_RATE
    # A hair shorter, because faster-whisper insists that they are no longer in sum than the audio.
    clips = [
        {"start": float(end - len(part) / SAMPLE_RATE), "end": float(end) - 0.001}
        for end, part in zip(ends, parts, strict=True)
    ]
    segments, _ = pipeline.transcribe(
        np.concatenate(parts),
        language="en",
        beam_size=1,
        temperature=0.0,
        vad_filter=False,
        clip_timestamps=clips,
        without_timestamps=True,
        suppress_tokens=[],
        batch_size=FASTER_WHISPER_BATCH,
    )
    scores = dict.fromkeys(owners, 0.0)
    for segment in segments:
        window = int(np.searchsorted(ends, (segment.start + segment.end) / 2))
        scores[owners[window]] = max(scores[owners[window]], float(target_token in segment.text))
    return Heard(time.perf_counter() - begun, float(ends[-1]), scores)


def ours(uri: str, name: str, folders: Sequence[Path]) -> Heard:
    """A scan, with all that it writes; the scores are those of the first adapter."""
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.scan.scan import scan

    database = connect(uri, name)
    detectors = load_detectors(folders, choose_compute())
    begun = time.perf_counter()
    report = scan(database, detectors, ScanSettings(), ClipSettings())
    seconds = time.perf_counter() - begun
    found = database[EVENT_SCANS].find({"adapter": folders[0].name})
    return Heard(seconds, report.seconds, {scan["conversation_id"]: scan["score"] for scan in found})


def copies(folder: Path, count: int) -> list[Path]:
    """The adapter, and copies of it for other events."""
    folders = [folder]
    for number in range(2, count + 1):
        event = f"{EVENT.name}{number}"
        copy = folder.parent / f"{event}_v1"
        if not copy.exists():
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("SHA256SUMS"))
            detection = json.loads((copy / DETECTION_FILE).read_text())
            (copy / DETECTION_FILE).write_text(json.dumps(detection | {"event": event}))
        folders.append(copy)
    return folders


def run(uri: str, clips: Sequence[Clip], folder: Path, merged: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A name and a row for each way of detecting in each of the two kinds of conversations."""
    from event_detection_pipeline.adapters.metrics import average_precision

    truth = {clip.conversation_id: clip.contains_event for clip in clips}
    fill(connect(uri, "short"), {clip.conversation_id: [clip] for clip in clips})
    joined = range(0, len(clips), LONG_CLIPS)
    fill(connect(uri, "long"), {f"long-{first}": clips[first : first + LONG_CLIPS] for first in joined})
    token = read_detection(folder).target_token
    ways: dict[str, tuple[Any, ...]] = {
        "generate": (generate, folder),
        "faster_whisper_int8": (faster_whisper, merged / "int8", token),
        "faster_whisper_float32": (faster_whisper, merged / "float32", token),
        **{f"ours_{count}": (ours, copies(folder, count)) for count in EVENTS},
    }
    for kind in ("short", "long"):
        for way, (function, *arguments) in ways.items():
            if kind == "short" and way.startswith("ours") and way != "ours_1":
                continue
            for own in (name for name in connect(uri, kind).list_collection_names() if name.startswith("event_")):
                connect(uri, kind).drop_collection(own)
            _, memory, heard = measured(function, uri, kind, *arguments)
            scores = [heard.scores[id_] for id_ in truth] if kind == "short" else []
            precision = average_precision(list(truth.values()), scores) if scores else None
            yield (
                f"{way} {kind}",
                {
                    "conversations": kind,
                    "way": way,
                    "events": int(way.removeprefix("ours_")) if way.startswith("ours_") else 1,
                    "audio_s": round(heard.audio_seconds),
                    "seconds": round(heard.seconds, 2),
                    "audio_hours_per_hour": round(heard.audio_seconds / heard.seconds, 1),
                    "average_precision": None if precision is None else round(precision, 3),
                    "peak_mb": round(memory),
                },
            )


def ratios(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """How many times faster than the others, on long conversations and on short ones; what four events cost."""

    def against(way: str, kind: str) -> float:
        return round(rows[f"{way} {kind}"]["seconds"] / rows[f"ours_1 {kind}"]["seconds"], 1)

    others = ("generate", "faster_whisper_int8", "faster_whisper_float32")
    return {
        **{f"vs_{way}": against(way, "long") for way in others},
        **{f"vs_{way}_short": against(way, "short") for way in others},
        "events_4_vs_1": round(rows["ours_4 long"]["seconds"] / rows["ours_1 long"]["seconds"], 2),
        **{
            f"ap_gain_vs_{way}": round(
                rows["ours_1 short"]["average_precision"] - rows[f"{way} short"]["average_precision"], 3
            )
            for way in others
        },
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--adapter", type=Path, help="an adapter's folder; default: one is trained")
    chosen = options.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, database_server() as uri:
        work = Path(name)
        clips = labelled_clips(work, QUICK if chosen.quick else FULL, seed=0)
        adapter = work / "adapters" / "chime_v1"
        if chosen.adapter:
            shutil.copytree(chosen.adapter, adapter)
        else:
            base_model, manifest = ensure_base_model(work / "base"), work / "manifest.jsonl"
            write_manifest(manifest, clips)
            seconds, _, _ = measured(train, manifest, adapter, base_model, work / "data", chosen.quick)
            print(f"trained the adapter in {seconds:.0f} s", flush=True)
        measured(convert, adapter, work / "merged")
        for key, row in run(uri, [clip for clip in clips if clip.split == "test"], adapter, work / "merged"):
            rows[key] = row
            print_row(row)
        finish(list(rows.values()), ratios(rows), chosen.json)
        for row in card_rows(ensure_base_model(work / "base"), chosen.quick):
            print_row(row)


def card_rows(base_model: Path, quick: bool) -> Iterator[dict[str, Any]]:
    """The speed of scoring on a CUDA card, where there is one."""
    import torch

    from benchmarks.scan_card import rows

    if not torch.cuda.is_available():
        print("no CUDA card: the speed of scoring on large-v3's shape is left out")
        return
    yield from rows(torch.device("cuda"), base_model, quick)


if __name__ == "__main__":
    main()
