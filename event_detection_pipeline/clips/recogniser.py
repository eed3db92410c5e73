"""The base model as a recogniser of last resort: when is what said, where a long transcript has no times at all."""

from collections.abc import Callable, Iterator
from typing import Any

from event_detection_pipeline.chronicle.audio import Samples
from event_detection_pipeline.chronicle.documents import Segment
from event_detection_pipeline.clips.rejects import RejectReason, SetAside
from event_detection_pipeline.config import MAX_CLIP_SECONDS, SAMPLE_RATE

Read = Callable[[float, float], Samples]
"""Samples from one second to another of a conversation."""

# A segment that ends this close to the end of what was heard may have been cut off there.
_END_SECONDS = 1.0


class Recogniser:
    """Whisper with its own time stamps; loaded at the first use, which most exports never come to."""

    def __init__(self, base_model: str, device: str) -> None:
        self._base_model = base_model
        self._device = device
        self._loaded: tuple[Any, Any] | None = None

    def segments(self, read: Read, seconds: float) -> Iterator[Segment]:
        """What is said from beginning to end, at most 30 s of audio in memory.

        Raises:
            SetAside: the base model cannot be loaded.
        """
        position = 0.0
        while position < seconds:
            end = min(position + MAX_CLIP_SECONDS, seconds)
            heard = self._recognise(read(position, end))
            # As Whisper does itself on long audio: what may have been cut off is heard again from its beginning.
            if len(heard) > 1 and end < seconds and heard[-1][1] > end - position - _END_SECONDS:
                last = heard.pop()
                end = position + last[0]
            for start, stop, text in heard:
                yield Segment(position + start, position + stop, text)
            position = end

    def _recognise(self, samples: Samples) -> list[tuple[float, float, str]]:
        """(start, end, text) of the segments in at most 30 s."""
        import torch

        model, processor = self._load()
        features = processor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        with torch.inference_mode():
            ids = model.generate(features.to(model.device, model.dtype), return_timestamps=True)
        decoded = processor.tokenizer.decode(ids[0], output_offsets=True, skip_special_tokens=True)
        seconds = len(samples) / SAMPLE_RATE
        return [
            (start, min(seconds if end is None else end, seconds), offset["text"].strip())
            for offset in decoded["offsets"]
            for start, end in [offset["timestamp"]]
            if start < seconds
        ]

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            # Imported here: torch costs seconds, and Dagster loads this module in every process.
            import torch
            from transformers import WhisperForConditionalGeneration, WhisperProcessor

            cuda = torch.cuda.is_available() and self._device != "cpu"
            try:
                model = WhisperForConditionalGeneration.from_pretrained(self._base_model, use_safetensors=True)
                processor = WhisperProcessor.from_pretrained(self._base_model)
            except OSError as error:
                detail = f"base model {self._base_model!r} cannot be loaded to align it"
                raise SetAside(RejectReason.NO_TIMES, detail) from error
            self._loaded = torch.nn.Module.to(model.eval(), "cuda" if cuda else "cpu"), processor
        return self._loaded
