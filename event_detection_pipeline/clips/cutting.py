"""From a labelled conversation to clips: what to cut, decided without decoding, and the cutting itself."""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from event_detection_pipeline.chronicle.chunks import EncodedChunk
from event_detection_pipeline.chronicle.layout import Layout, Span, decode_between
from event_detection_pipeline.clips.labelled import Labelled
from event_detection_pipeline.clips.manifest import Clip, ClipWord
from event_detection_pipeline.clips.rejects import Reject, RejectReason, SetAside
from event_detection_pipeline.clips.sources import BACKGROUND, TYPES
from event_detection_pipeline.clips.splits import Split
from event_detection_pipeline.clips.text import MAX_LABEL_TOKENS, join, label_tokens
from event_detection_pipeline.clips.timeline import (
    Timeline,
    Token,
    around,
    from_segments,
    from_words,
    insert_event,
    locate_event,
)
from event_detection_pipeline.clips.wav import keep_wav
from event_detection_pipeline.clips.windows import Window
from event_detection_pipeline.clips.windows import cut as cut_windows
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings

MIN_CLIP_SECONDS = 0.5  # shorter audio holds neither a word nor an event
# Transcripts may end a little after the audio does; beyond this the audio is incomplete.
_OVERHANG_SECONDS = 0.5
_ROUNDING_SECONDS = 1e-6
# An event whose place is known no better than this has no time in the manifest.
_MAX_EVENT_UNCERTAINTY_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Planned:
    """A clip to be cut: its window, what is heard in it, in seconds of the conversation, and whether it, and not only
    another part of the conversation, is what was flagged."""

    window: Window
    tokens: tuple[Token, ...]
    text: str
    words: tuple[ClipWord, ...]
    event_time: float | None
    flagged: bool


_Filled = tuple[Window, tuple[Token, ...]]


@dataclass(frozen=True, slots=True)
class CutTask:
    """Everything a process needs to write the clips of one conversation."""

    key: str
    fingerprint: str
    source: str
    document_id: str
    conversation_id: str
    version_id: str | None
    timestamp: str
    event: str
    tag: str
    split: Split
    planned: tuple[Planned, ...]
    seconds: float
    spans: tuple[Span, ...]
    chunks: Mapping[int, EncodedChunk]
    audio_dir: Path
    whole_file: bool
    longest: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one piece of material became."""

    key: str
    source: str
    fingerprint: str
    clips: tuple[Clip, ...]
    rejects: tuple[Reject, ...]


def timeline_of(item: Labelled, tag: str, seconds: float) -> Timeline | None:
    """When the item's text is heard; None if nothing in the database says so."""
    timeline = from_words(item.text, item.words, tag, seconds) or from_segments(item.text, item.segments, tag, seconds)
    if timeline is None and not item.text.replace(tag, "").strip():
        return Timeline(())  # no word
    return timeline


def plan(item: Labelled, timeline: Timeline | None, tag: str, layout: Layout, settings: ClipSettings) -> list[Planned]:
    """The windows worth a clip: those with the event or the flag, and a bounded number of others.

    Raises:
        SetAside: the recording cannot be cut without knowing more.
    """
    seconds = layout.seconds
    if seconds < MIN_CLIP_SECONDS:
        raise SetAside(RejectReason.TOO_SHORT, f"{seconds:.2f} s")
    placed = timeline and _place_events(timeline, item, tag, seconds)
    has_event = item.candidate.contains_event or tag in item.text
    nowhere = placed and not any(token.is_tag for token in placed.tokens)
    # Where nothing is said, the flag's time is all there is to choose a window by.
    if placed is None or (nowhere and (has_event or (not placed.tokens and item.time is None))):
        return [_whole(item, placed, tag, seconds, settings)]
    reached = max((token.end for token in placed.tokens), default=seconds)
    end = reached if reached > seconds + _OVERHANG_SECONDS else seconds
    windows = cut_windows(end, placed.solid, target=settings.target_seconds, longest=settings.max_seconds)
    wanted: list[_Filled] = []
    others: list[_Filled] = []
    for window, tokens in _fill(windows, placed.tokens):
        if any(token.is_tag for token in tokens) or (item.time is not None and window.holds(item.time)):
            wanted.append((window, tokens))
        elif tokens and _is_heard(window, layout):
            others.append((window, tokens))
    order = f"{settings.seed} {item.candidate.key}"
    others.sort(key=lambda one: hashlib.sha256(f"{order} {one[0].start}".encode()).digest())
    chosen = sorted(wanted + others[: settings.other_windows + (not wanted)], key=lambda one: one[0].start)
    if not chosen:
        raise SetAside(RejectReason.AUDIO_GAP, "no part of it with words is there from beginning to end")
    flagged = [_is_flagged(item) and (one in wanted or len(windows) == 1) for one in chosen]
    return [_planned(*one, bool(placed.segments), flag) for one, flag in zip(chosen, flagged, strict=True)]


def cut(task: CutTask | Outcome) -> Outcome:
    """Decode the planned windows and write them; what turns out unusable is set aside, as what was so before."""
    if isinstance(task, Outcome):
        return task
    clips: list[Clip] = []
    rejects: list[Reject] = []
    for planned in task.planned:
        try:
            clips.append(_cut_clip(task, planned))
        except SetAside as error:
            window = round(planned.window.start, 3), round(planned.window.end, 3)
            rejects.append(
                Reject(error.reason, task.source, task.document_id, task.conversation_id, error.detail, *window)
            )
    return Outcome(task.key, task.source, task.fingerprint, tuple(clips), tuple(rejects))


def spans_needed(windows: Sequence[Window], spans: Sequence[Span]) -> tuple[Span, ...]:
    """The chunks that the windows reach into."""
    bounds = [(window.start * SAMPLE_RATE, window.end * SAMPLE_RATE) for window in windows]
    return tuple(span for span in spans if any(span.start < end and span.end > start for start, end in bounds))


def file_stem(conversation_id: str) -> str:
    """The id itself if it is a plain name (it is a UUID), else one made from it: an id is no path."""
    if re.fullmatch(r"[A-Za-z0-9-]{1,100}", conversation_id):
        return conversation_id
    return hashlib.sha256(conversation_id.encode()).hexdigest()[:32]


def _is_flagged(item: Labelled) -> bool:
    """Whether anybody took something in the conversation for the event; a scan hears a time in others, too."""
    return item.candidate.source != BACKGROUND


def _place_events(timeline: Timeline, item: Labelled, tag: str, seconds: float) -> Timeline:
    marked = [(start, end) for start, end in item.event_segments if start < seconds]
    for start, end in marked:
        timeline = locate_event(timeline, start, end) or insert_event(timeline, tag, start, end)
    if item.time is None or item.time >= seconds or marked:
        return timeline
    start, end = around(item.time, seconds)
    located = locate_event(timeline, start, end)
    has_tag = any(token.is_tag for token in timeline.tokens)
    if located is None and item.candidate.contains_event and not has_tag:
        return insert_event(timeline, tag, start, end)
    return located or timeline


def _whole(item: Labelled, timeline: Timeline | None, tag: str, seconds: float, settings: ClipSettings) -> Planned:
    """The whole recording as one clip, where nothing tells when its words, or its event, are heard."""
    if seconds > settings.max_seconds:
        if timeline is not None:
            raise SetAside(RejectReason.EVENT_TIME_UNKNOWN, "no scan and no transcript says when it was")
        raise SetAside(RejectReason.NO_TIMES, f"{seconds:.1f} s with neither timed words nor segments")
    text = item.text
    if item.candidate.contains_event and tag not in text:
        text = join([text, f" {tag}"])
    words = _clip_words(timeline.tokens, 0.0) if timeline and not timeline.segments else ()
    time = item.time if tag in text and item.time is not None and item.time < seconds else None
    return Planned(Window(0.0, seconds), timeline.tokens if timeline else (), text, words, time, _is_flagged(item))


def _fill(windows: Sequence[Window], tokens: Sequence[Token]) -> Iterator[_Filled]:
    """Each window with the tokens heard in it, in the order of the text; what overhangs the end goes into the last."""
    order = sorted(range(len(tokens)), key=lambda index: tokens[index].middle)
    times = [tokens[index].middle for index in order]
    first = 0
    for number, window in enumerate(windows):
        end = len(order) if number == len(windows) - 1 else bisect_left(times, window.end, first)
        yield window, tuple(tokens[index] for index in sorted(order[first:end]))
        first = end


def _planned(window: Window, tokens: tuple[Token, ...], guessed_times: bool, flagged: bool) -> Planned:
    times = [
        token.middle - window.start
        for token in tokens
        if token.is_tag and token.end - token.start <= _MAX_EVENT_UNCERTAINTY_SECONDS
    ]
    words = () if guessed_times else _clip_words(tokens, window.start)
    text = join(token.text for token in tokens)
    return Planned(window, tokens, text, words, times[0] if times else None, flagged)


def _clip_words(tokens: Sequence[Token], start: float) -> tuple[ClipWord, ...]:
    return tuple(
        ClipWord(token.text.strip(), round(max(token.start - start, 0.0), 3), round(token.end - start, 3))
        for token in tokens
        if not token.is_tag
    )


def _is_heard(window: Window, layout: Layout) -> bool:
    """Whether there is audio from beginning to end, as far as is known without decoding."""
    gap = any(start < window.end and end > window.start for start, end in layout.gaps)
    return window.end <= layout.seconds and not gap


def _cut_clip(task: CutTask, planned: Planned) -> Clip:
    window = planned.window
    if window.seconds > task.longest + _ROUNDING_SECONDS:
        tags = [token for token in planned.tokens if token.is_tag]
        wide = any(token.end - token.start > task.longest / 2 for token in tags)
        reason = RejectReason.EVENT_TIME_UNKNOWN if wide else RejectReason.NO_PLACE_TO_CUT
        raise SetAside(reason, f"{window.seconds:.1f} s without a pause")
    if label_tokens(planned.text) > MAX_LABEL_TOKENS:
        raise SetAside(RejectReason.LABEL_TOO_LONG, f"{len(planned.text)} characters")
    spans = spans_needed([window], task.spans)
    samples, gaps = decode_between(spans, task.chunks, window.start, window.end)
    _check_gaps(planned, gaps)
    whole = task.whole_file and window.start == 0.0 and window.end == task.seconds
    part = "" if whole else f"_{round(window.start * 1000)}-{round(window.end * 1000)}"
    path = task.audio_dir / f"{file_stem(task.conversation_id)}{part}.wav"
    digest = keep_wav(path, samples)
    return Clip(
        audio=str(path),
        text=planned.text,
        timestamp=task.timestamp,
        type=TYPES.get(task.source, "verified" if task.tag in planned.text else "negative"),
        event=task.event,
        contains_event=task.tag in planned.text,
        split=task.split,
        start=round(window.start, 3),
        end=round(window.end, 3),
        duration=round(window.seconds, 3),
        source=task.source,
        conversation_id=task.conversation_id,
        version_id=task.version_id,
        audio_sha256=digest,
        words=planned.words,
        event_time=None if planned.event_time is None else round(planned.event_time, 3),
        flagged=planned.flagged,
    )


def _check_gaps(planned: Planned, gaps: Sequence[tuple[float, float]]) -> None:
    """A window whose words or event lie in a gap is not what its text says; nor is one that is mostly gap."""
    missing = sum(end - start for start, end in gaps)
    in_gap = [token for token in planned.tokens for start, end in gaps if token.start < end and token.end > start]
    unknown = gaps and planned.text and not planned.tokens
    if in_gap or unknown or missing > planned.window.seconds / 2:
        raise SetAside(RejectReason.AUDIO_GAP, f"{missing:.1f} s of its audio are missing")
