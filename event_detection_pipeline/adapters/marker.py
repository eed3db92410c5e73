"""The marker: the word an adapter writes where it hears the event, as tokens of the base model."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import GenerationConfig, WhisperTokenizer

from event_detection_pipeline.config import EventSettings


@dataclass(frozen=True, slots=True)
class Marker:
    """A target token such as EVENT_DETECTED in one tokenizer.

    `first_ids` are both spellings of its first token, with and without the leading space: their probabilities are
    summed, because Whisper may begin a text with either.
    """

    token: str
    ids: tuple[int, ...]
    first_ids: tuple[int, ...]


def marker_of(tokenizer: WhisperTokenizer, target_token: str) -> Marker:
    """The marker's tokens; text always begins with a space, so `ids` is the spelling with one."""
    spaced = encode_word(tokenizer, target_token)
    bare = tokenizer(target_token, add_special_tokens=False).input_ids
    return Marker(target_token, tuple(spaced), tuple(sorted({spaced[0], bare[0]})))


def encode_word(tokenizer: WhisperTokenizer, word: str) -> list[int]:
    """Tokens of a word inside a text: with its leading space. Words tokenize independently of their neighbours,
    because GPT-2's pre-tokenizer never joins across a space."""
    return tokenizer(f" {word}", add_special_tokens=False).input_ids


def allow_marker(config: GenerationConfig, marker: Marker) -> None:
    """Take the marker's tokens out of the lists that generation never emits.

    Whisper's default `suppress_tokens` contains "_" and other symbols; with it no marker is ever written. Only what the
    marker needs is removed, so that the rest of the list keeps its purpose.
    """
    wanted = {*marker.ids, *marker.first_ids}
    for key in ("suppress_tokens", "begin_suppress_tokens"):
        suppressed: Sequence[int] | None = getattr(config, key, None)
        if suppressed:
            setattr(config, key, [token for token in suppressed if token not in wanted])


def split_at_tags(text: str, event: EventSettings) -> tuple[list[str], list[int]]:
    """The words of a text without the event's tags, and for each tag the number of words before it.

    >>> split_at_tags("good <event> morning", EventSettings())
    (['good', 'morning'], [1])
    """
    words: list[str] = []
    positions: list[int] = []
    for word in text.replace(event.source_tag, f" {event.source_tag} ").split():
        if word == event.source_tag:
            positions.append(len(words))
        else:
            words.append(word)
    return words, positions
