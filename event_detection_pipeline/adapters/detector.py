"""Detectors: promoted adapters loaded on their base model, ready to score clips and to write transcripts."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from safetensors import SafetensorError

from event_detection_pipeline.adapters.attention import PLAIN_ATTENTION
from event_detection_pipeline.adapters.batch_size import BatchSize, clips_at_once, in_batches
from event_detection_pipeline.adapters.device import Compute
from event_detection_pipeline.adapters.examples import Example, decoder_input, read_wav
from event_detection_pipeline.adapters.marker import Marker, allow_marker, marker_of
from event_detection_pipeline.adapters.probe import PROBE_FILE, Pools, Probe, Said, joined, load_probe
from event_detection_pipeline.adapters.release import BrokenAdapter, Detection, read_detection
from event_detection_pipeline.adapters.revision import base_revision
from event_detection_pipeline.adapters.scoring import ClipScore, read_scores
from event_detection_pipeline.adapters.whisper import Whisper, load_whisper

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """One event's adapter inside a Detector."""

    name: str
    detection: Detection
    module_name: str  # in PEFT, where a name is part of a module's path and may hold no dot
    marker: Marker
    probe: Probe | None  # where it has a say in the scores


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is known of a clip before any adapter was asked.

    Attributes:
        states: that enter the lowest adapted layer, (frames, d_model), in ordinary memory.
        said: by each probe that has a say, by its adapter's name.
    """

    states: torch.Tensor
    said: Mapping[str, Said]

    def ceiling(self, adapter: LoadedAdapter) -> float:
        """The highest score that this adapter can give the clip, whatever it hears; 1 without a probe."""
        return joined([1.0], [self.said[adapter.name].score])[0] if adapter.probe else 1.0


class Detector:
    """Adapters of one base model; they share its weights and switch on top of them."""

    def __init__(self, whisper: Whisper, model: PeftModel, adapters: Sequence[LoadedAdapter]) -> None:
        self.whisper = whisper
        self.adapters = tuple(adapters)
        self.model = model
        self._shared = lowest_adapted_layer(whisper)

    def score(self, clips: Sequence[np.ndarray], transcripts: Sequence[Sequence[str]]) -> dict[str, list[ClipScore]]:
        """Scores of every adapter for each clip, by adapter name: those that each adapter alone would give.

        What lies below the lowest layer that any of the adapters changes runs once for all of them.

        Args:
            clips: float32 mono 16 kHz, at most 30 s, of one bucket.
            transcripts: the words of each clip; empty where nothing was said.
        """
        with self.bare():
            sketches = self.sketch(clips)
        scores = {}
        for adapter in self.adapters:
            with self.adapted(adapter):
                scores[adapter.name] = self.hear(adapter, sketches, transcripts)
        return scores

    def score_examples(self, examples: Sequence[Example]) -> dict[str, list[ClipScore]]:
        """`score` of examples of any lengths, in their order."""

        def score(batch: list[int]) -> list[tuple[ClipScore, ...]]:
            chosen = [examples[index] for index in batch]
            scores = self.score([read_wav(one.audio) for one in chosen], [one.words for one in chosen])
            return list(zip(*scores.values(), strict=True))

        found = in_batches([example.bucket for example in examples], BatchSize(clips_at_once(self.whisper)), score)
        return {adapter.name: [one[number] for one in found] for number, adapter in enumerate(self.adapters)}

    @contextmanager
    def bare(self) -> Iterator[None]:
        """No adapter changes anything in the block, in which several threads may `sketch`."""
        with self.model.disable_adapter():
            yield

    @contextmanager
    def adapted(self, adapter: LoadedAdapter) -> Iterator[None]:
        """This adapter is in the model in the block, in which several threads may `hear` it."""
        self.model.set_adapter(adapter.module_name)
        with self.whisper.model.trimmed_encoder.beginning_at(self._shared):
            yield

    def sketch(self, clips: Sequence[np.ndarray]) -> list[Sketch]:
        """What lies below the adapters, and what the probes say to it; clips as in `score`. Within `bare`: a probe may
        go deeper than where another event's adapter begins."""
        probes = {adapter.name: adapter.probe for adapter in self.adapters if adapter.probe}
        depths = [probe.depth for probe in probes.values()]
        pools = Pools([len(clip) for clip in clips], depths)
        encoder, states = self.whisper.model.trimmed_encoder, torch.empty(0)
        with torch.inference_mode():
            features = self.whisper.features(clips)
            for layer, hidden in enumerate(encoder.iter_states(features, max(self._shared, *depths, 0))):
                pools.add(layer, hidden)
                if layer == self._shared:
                    states = hidden.cpu()
        said = {name: probe.listen(pools.features(probe.depth)) for name, probe in probes.items()}
        return [Sketch(one, {name: found[i] for name, found in said.items()}) for i, one in enumerate(states)]

    def hear(
        self, adapter: LoadedAdapter, sketches: Sequence[Sketch], transcripts: Sequence[Sequence[str]]
    ) -> list[ClipScore]:
        """The scores of one adapter for sketched clips of one bucket, within `adapted`; transcripts as in `score`."""
        inputs = [decoder_input(self.whisper, words) for words in transcripts]
        states = torch.stack([sketch.states for sketch in sketches]).to(self.whisper.compute.device)
        with torch.inference_mode():
            heard = read_scores(self.model, self.whisper, adapter.marker, states, inputs)
        if not adapter.probe:
            return heard
        said = [sketch.said[adapter.name] for sketch in sketches]
        scores = joined([one.score for one in heard], [one.score for one in said])
        together = zip(heard, scores, said, strict=True)
        return [replace(one, score=score, time=known.time) for one, score, known in together]

    def transcribe(self, clip: np.ndarray) -> list[str]:
        """The words of a clip without a transcript, by the bare base model, greedily. float32 mono 16 kHz, <= 30 s."""
        with self.model.disable_adapter():
            return self.whisper.write(clip).split()


def lowest_adapted_layer(whisper: Whisper) -> int:
    """The lowest encoder layer that any loaded adapter changes; their number where none does. Adapters change layers,
    never what lies below the first one (`lora_config`)."""
    layers = whisper.model.trimmed_encoder.layers
    adapted = (
        number for number, layer in enumerate(layers) if any("lora_" in name for name, _ in layer.named_parameters())
    )
    return next(adapted, len(layers))


def load_detectors(folders: Iterable[Path], compute: Compute) -> list[Detector]:
    """Load adapters, those of the same base model (and language) into one Detector.

    Raises:
        NoSuchAdapter, BrokenAdapter, BaseModelUnavailable.
        torch.OutOfMemoryError: they do not fit the card.
    """
    by_base: dict[tuple[str, str], list[tuple[Path, Detection]]] = {}
    for folder in folders:
        detection = read_detection(folder)
        by_base.setdefault((detection.base_model, detection.language), []).append((folder, detection))
    return [_load(*base, adapters, compute) for base, adapters in by_base.items()]


def _second_opinion(folder: Path, detection: Detection) -> Probe | None:
    if detection.scorer == "adapter":
        return None
    probe = load_probe(folder / PROBE_FILE)
    if probe is None:
        raise BrokenAdapter(f"{folder / PROBE_FILE} is missing, which has a say in its scores; train it again")
    return probe


def _warn_of_another_base(whisper: Whisper, adapters: Sequence[tuple[Path, Detection]]) -> None:
    """Names stay when what is behind them changes; an adapter then loads all the same, and hears other things."""
    known = [(folder, one.base_model_revision) for folder, one in adapters if one.base_model_revision]
    there = base_revision(whisper) if known else ""
    for folder, revision in known:
        if revision != there:
            logger.warning(
                "adapter %s was trained on another state of base model %s (%s, it is %s now): its scores and threshold "
                "mean little; put the old one back or train again",
                folder,
                whisper.name,
                revision,
                there,
            )


def _load(base: str, language: str, adapters: Sequence[tuple[Path, Detection]], compute: Compute) -> Detector:
    whisper = load_whisper(base, compute, language)
    if compute.device.type == "cpu":
        whisper.model.set_attn_implementation(PLAIN_ATTENTION)
    _warn_of_another_base(whisper, adapters)
    # Training keeps LoRA in float32; to listen with, it would convert every state to float32 and back. PEFT would take
    # a card where there is one, whatever was chosen.
    how: dict[str, Any] = {"autocast_adapter_dtype": False, "torch_device": str(compute.device)}
    model: PeftModel | None = None
    loaded = []
    for number, (folder, detection) in enumerate(adapters):
        name = f"adapter_{number}"
        try:
            if model is None:
                model = PeftModel.from_pretrained(whisper.model, str(folder), name, **how)
            else:
                model.load_adapter(str(folder), name, **how)
        except torch.OutOfMemoryError:
            raise  # a RuntimeError that says nothing of the adapter
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise BrokenAdapter(
                f"adapter {folder} does not load on base model {base}: {str(error).splitlines()[0]}; train it again"
            ) from error
        marker = marker_of(whisper.tokenizer, detection.target_token)
        assert whisper.model.generation_config is not None
        allow_marker(whisper.model.generation_config, marker)
        loaded.append(LoadedAdapter(folder.resolve().name, detection, name, marker, _second_opinion(folder, detection)))
    assert model is not None
    model.eval()
    return Detector(whisper, model, loaded)
