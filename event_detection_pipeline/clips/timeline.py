"""When each piece of a transcript is heard: the text people read, with the times of the recogniser's words.

Text and words need not agree: people edit transcripts and put tags into them. Matching pieces take the words' times,
what stands between two matches shares the time between them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from event_detection_pipeline.chronicle.chunks import MAX_SECONDS
from event_detection_pipeline.chronicle.documents import Segment, Word
from event_detection_pipeline.clips.text import pieces_of, same_sound

# A recogniser's word is rarely longer; one that says so swallowed a silence.
MAX_WORD_SECONDS = 3.0
_UNTIMED_WORD_SECONDS = 0.5  # two words a second, a slow speaker
# Below it the words belong to another text than the one they are matched with.
MIN_MATCH = 0.6
# How far around the moment where a scan heard an event the event may reach.
EVENT_REACH_SECONDS = 1.0
# Where a clip is cut, its first and last sounds are lost in the window of the first frames.
_EVENT_MARGIN_SECONDS = 0.5
# A tag closer to an event's moment than this is that event.
_SAME_EVENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text and the seconds in which it is heard."""

    text: str
    start: float
    end: float
    is_tag: bool = False

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


@dataclass(frozen=True, slots=True)
class Timeline:
    """A transcript in time.

    Attributes:
        tokens: in the order of the text.
        segments: where only whole segments have times, their (start, end) seconds; the tokens' own are guesses then.
    """

    tokens: tuple[Token, ...]
    segments: tuple[tuple[float, float], ...] = ()

    @property
    def solid(self) -> tuple[tuple[float, float], ...]:
        """The (start, end) seconds that must not be cut: words (or segments), and events with what is around them."""
        words = () if self.segments else tuple((token.start, token.end) for token in self.tokens)
        events = (
            (token.start - _EVENT_MARGIN_SECONDS, token.end + _EVENT_MARGIN_SECONDS)
            for token in self.tokens
            if token.is_tag
        )
        return (*words, *self.segments, *events)


@dataclass(frozen=True, slots=True)
class _Timed:
    sound: str
    start: float
    end: float


def from_words(text: str, words: Sequence[Word], tag: str, seconds: float) -> Timeline | None:
    """The text with the times of its words; None where too few words have times or they are another text's."""
    timed = [word for word in words if are_times(word.start, word.end)]
    if not timed or len(timed) < MIN_MATCH * len(words):
        return None
    pieces = [piece for word in timed for piece in _spread(pieces_of(word.text, tag), *_bounds(word), tag)]
    tokens = _align(pieces_of(text, tag), pieces, tag, seconds)
    return Timeline(tokens) if tokens else None


def from_segments(text: str, segments: Sequence[Segment], tag: str, seconds: float) -> Timeline | None:
    """The text with its segments' times, each segment in one piece; None as above."""
    timed = [
        (segment.text, segment.start, segment.end)
        for segment in segments
        if segment.start is not None and segment.end is not None and are_times(segment.start, segment.end)
    ]
    pieces = [piece for words, start, end in timed for piece in _spread(pieces_of(words, tag), start, end, tag)]
    tokens = _align(pieces_of(text, tag), pieces, tag, seconds)
    return Timeline(tokens, tuple((start, end) for _, start, end in timed)) if tokens else None


def locate_event(timeline: Timeline, start: float, end: float) -> Timeline | None:
    """Say that the tag nearby is heard from `start` to `end`; None if no tag is near."""
    middle = (start + end) / 2
    tags = [
        index
        for index, token in enumerate(timeline.tokens)
        if token.is_tag and token.start - _SAME_EVENT_SECONDS <= middle <= token.end + _SAME_EVENT_SECONDS
    ]
    if not tags:
        return None
    tokens = list(timeline.tokens)
    index = min(tags, key=lambda index: abs(tokens[index].middle - middle))
    tokens[index] = replace(tokens[index], start=start, end=end)
    return replace(timeline, tokens=tuple(tokens))


def insert_event(timeline: Timeline, tag: str, start: float, end: float) -> Timeline:
    """Put a tag between the words around an event that is heard from `start` to `end`."""
    tokens = list(timeline.tokens)
    middle = (start + end) / 2
    index = next((index for index, token in enumerate(tokens) if token.middle > middle), len(tokens))
    if index:  # the last word of a text has no space behind it
        tokens[index - 1] = replace(tokens[index - 1], text=f"{tokens[index - 1].text.rstrip()} ")
    tokens.insert(index, Token(f"{tag} ", start, end, is_tag=True))
    return replace(timeline, tokens=tuple(tokens))


def around(time: float, seconds: float) -> tuple[float, float]:
    """The (start, end) seconds that an event heard at `time` may take, inside a recording of that length."""
    return max(time - EVENT_REACH_SECONDS, 0.0), min(time + EVENT_REACH_SECONDS, seconds)


def are_times(start: float | None, end: float | None) -> bool:
    """Whether these are seconds of a conversation; recognisers have written -1 and worse."""
    return start is not None and end is not None and 0 <= start <= end <= MAX_SECONDS


def _bounds(word: Word) -> tuple[float, float]:
    start, end = word.start or 0.0, word.end or 0.0
    return start, min(end, start + MAX_WORD_SECONDS)


def _spread(pieces: Sequence[str], start: float, end: float, tag: str) -> Iterable[_Timed]:
    """Give pieces their share of a stretch of time, by length."""
    total = sum(len(piece.strip()) for piece in pieces) or 1
    position = start
    for piece in pieces:
        length = (end - start) * len(piece.strip()) / total
        yield _Timed(tag if piece.strip() == tag else same_sound(piece), position, position + length)
        position += length


def _align(pieces: Sequence[str], timed: Sequence[_Timed], tag: str, seconds: float) -> tuple[Token, ...] | None:
    """Tokens of the text in time, or None if too little of the text is among the timed pieces."""
    sounds = [tag if piece.strip() == tag else same_sound(piece) for piece in pieces]
    matched = _match(sounds, timed, tag)
    spoken = [index for index, sound in enumerate(sounds) if sound and sound != tag]
    if not spoken or sum(index in matched for index in spoken) < MIN_MATCH * len(spoken):
        return None
    tokens: list[Token] = []
    index = 0
    while index < len(pieces):
        run = index
        while run < len(pieces) and run not in matched:
            run += 1
        if run > index:
            start = tokens[-1].end if tokens else 0.0
            end = matched[run].start if run in matched else seconds
            tokens += _between(pieces[index:run], start, max(start, end), tag, seconds)
        if run < len(pieces):
            tokens.append(Token(pieces[run], matched[run].start, matched[run].end, is_tag=sounds[run] == tag))
        index = run + 1
    return tuple(tokens)


def _match(sounds: Sequence[str], timed: Sequence[_Timed], tag: str) -> dict[int, _Timed]:
    """Which timed piece each sound of the text is, by the sound's place in the text."""
    heard = [one.sound for one in timed]
    words = [index for index, sound in enumerate(sounds) if sound != tag]
    if [sounds[index] for index in words] == heard:
        return dict(zip(words, timed, strict=True))  # nothing but tags was put in, as nearly always
    matched: dict[int, _Timed] = {}
    for block in SequenceMatcher(None, sounds, heard).get_matching_blocks():
        matched.update({block.a + offset: timed[block.b + offset] for offset in range(block.size)})
    return matched


def _between(pieces: Sequence[str], start: float, end: float, tag: str, seconds: float) -> Iterable[Token]:
    """Tokens for what no recogniser timed: words follow at the pace of speech, a tag may be anywhere in its pause."""
    if all(piece.strip() != tag for piece in pieces):
        end = min(end, start + _UNTIMED_WORD_SECONDS * len(pieces))
    for piece, timed in zip(pieces, _spread(pieces, start, end, tag), strict=True):
        if timed.sound == tag:
            last = max(min(timed.end + EVENT_REACH_SECONDS, seconds), timed.end)
            yield Token(piece, max(timed.start - EVENT_REACH_SECONDS, 0.0), last, is_tag=True)
        else:
            yield Token(piece, timed.start, timed.end)
