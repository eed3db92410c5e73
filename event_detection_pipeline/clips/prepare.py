"""From a candidate to the task of cutting it: its audio found and laid out, its windows planned, their chunks fetched.

All reading of MongoDB happens here, in one process; what is handed on holds the encoded audio of a few windows.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import AudioTooLong, Samples
from event_detection_pipeline.chronicle.chunks import (
    ChunkSource,
    DatabaseChunks,
    StoredChunks,
    WavChunks,
    chunk_headers,
)
from event_detection_pipeline.chronicle.documents import Document
from event_detection_pipeline.chronicle.layout import Layout, decode_between, lay_out
from event_detection_pipeline.chronicle.queries import stash_audio
from event_detection_pipeline.clips.cutting import (
    CutTask,
    Outcome,
    file_stem,
    plan,
    spans_needed,
    timeline_of,
)
from event_detection_pipeline.clips.labelled import EventTexts, Labelled, load
from event_detection_pipeline.clips.recogniser import Recogniser
from event_detection_pipeline.clips.rejects import RejectReason, SetAside
from event_detection_pipeline.clips.sources import STASH, Candidate, rejected
from event_detection_pipeline.clips.splits import split_of
from event_detection_pipeline.clips.timeline import Timeline, from_segments
from event_detection_pipeline.config import EventSettings, Settings

_BATCH = 32  # conversations whose chunks are listed in one query


class Preparer:
    """Prepares the candidates of one event."""

    def __init__(self, database: Database[dict[str, Any]], settings: Settings, event: EventSettings) -> None:
        self._database = database
        self._settings = settings
        self._event = event
        self._texts = EventTexts(event, settings)
        self._recogniser = Recogniser(settings.base_model, settings.device)

    def tasks(self, candidates: Iterable[Candidate], recipe: Callable[[Candidate], str]) -> Iterator[CutTask | Outcome]:
        """A task for each candidate, or at once the outcome of one that cannot be cut."""
        remaining = iter(candidates)
        while batch := list(islice(remaining, _BATCH)):
            headers = chunk_headers(self._database, [candidate.conversation_id for candidate in batch])
            for candidate in batch:
                try:
                    yield self._task(candidate, headers[candidate.conversation_id], recipe(candidate))
                except SetAside as error:
                    reject = rejected(candidate, error)
                    yield Outcome(candidate.key, candidate.source, recipe(candidate), (), (reject,))

    def _task(self, candidate: Candidate, headers: list[Document], fingerprint: str) -> CutTask:
        source, from_chunks = self._audio(candidate, headers)  # first: each export looks again for what is missing
        item = load(self._database, candidate, self._event, self._texts)
        layout = _laid_out(source)
        timeline = self._timeline(item, source, layout)
        planned = plan(item, timeline, self._texts.tag, layout, self._settings.clips)
        spans = spans_needed([one.window for one in planned], layout.spans)
        clips = self._settings.clips
        return CutTask(
            key=candidate.key,
            fingerprint=fingerprint,
            source=candidate.source,
            document_id=str(candidate.document_id),
            conversation_id=candidate.conversation_id,
            version_id=candidate.version_id,
            timestamp=item.timestamp.isoformat(),
            event=self._event.name,
            tag=self._texts.tag,
            split=split_of(candidate.conversation_id, clips.validation_fraction, clips.test_fraction),
            planned=tuple(planned),
            seconds=layout.seconds,
            spans=spans,
            chunks={chunk.index: chunk for chunk in source.fetch([span.index for span in spans])},
            audio_dir=self._settings.audio_dir.resolve(),
            whole_file=from_chunks,
            longest=clips.max_seconds,
        )

    def _audio(self, candidate: Candidate, headers: list[Document]) -> tuple[ChunkSource, bool]:
        """The conversation's chunks; else the stash's copies; else the WAV file of an earlier export.

        The second value is whether the whole may be written as `<id>.wav`: not where it was read from there.
        """
        chunks: ChunkSource = DatabaseChunks(self._database, headers)
        if chunks.count == 0 and candidate.source == STASH:
            chunks = StoredChunks(stash_audio(self._database, candidate.document_id))
        if chunks.count:
            return chunks, True
        file = self._settings.audio_dir / f"{file_stem(candidate.conversation_id)}.wav"
        wav = WavChunks(file)
        if wav.count == 0:
            raise SetAside(RejectReason.NO_AUDIO, f"neither audio chunks nor copies in the stash nor {file.name}")
        return wav, False

    def _timeline(self, item: Labelled, source: ChunkSource, layout: Layout) -> Timeline | None:
        tag = self._texts.tag
        timeline = timeline_of(item, tag, layout.seconds)
        if timeline is not None or layout.seconds <= self._settings.clips.max_seconds:
            return timeline

        def read(start: float, end: float) -> Samples:
            spans = layout.between(start, end)
            chunks = {chunk.index: chunk for chunk in source.fetch([span.index for span in spans])}
            return decode_between(spans, chunks, start, end)[0]

        heard = tuple(self._recogniser.segments(read, layout.seconds))
        aligned = from_segments(item.text, heard, tag, layout.seconds)
        if aligned is None:
            raise SetAside(RejectReason.POOR_ALIGNMENT, "the base model hears other words than the transcript has")
        return aligned


def _laid_out(source: ChunkSource) -> Layout:
    try:
        layout = lay_out(source)
    except AudioTooLong as error:
        raise SetAside(RejectReason.TOO_LONG, str(error)) from error
    if layout.is_silent:
        raise SetAside(RejectReason.UNDECODABLE_AUDIO, "none of its audio chunks can be decoded")
    return layout
