"""A transcript as pieces: words with the space behind them, and the event's tag wherever it stands.

Joined again, the pieces of a window are its part of the transcript with its own punctuation and spacing.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

_VOCABULARY = 10_000  # people say the same words again and again

# Scripts without spaces between words; there each character is a piece of its own.
_UNSPACED = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"

MAX_LABEL_TOKENS = 448  # positions of Whisper's decoder (max_target_positions)
_SPECIAL_TOKENS = 16  # start, language, task, end, and room for the marker


def pieces_of(text: str, tag: str) -> list[str]:
    """Split into tags, words and unspaced characters, each with the white space that follows it."""
    return _pieces(tag).findall(text)


@cache
def _pieces(tag: str) -> re.Pattern[str]:
    tag = re.escape(tag)
    return re.compile(rf"(?:{tag}|{_UNSPACED}|(?:(?!{tag}|{_UNSPACED})\S)+)\s*")


def join(pieces: Iterable[str]) -> str:
    """One line of text with single spaces."""
    return " ".join("".join(pieces).split())


@lru_cache(maxsize=_VOCABULARY)
def same_sound(piece: str) -> str:
    """What of a piece is spoken: without case and punctuation, so that `Well,` is `well`."""
    return re.sub(r"[\W_]+", "", piece.casefold())


def only_tag(text: str, tag: str, event_texts: Mapping[str, str], other_tags: Iterable[str]) -> str:
    """The text with this event's tag alone: `[sneeze]` becomes the tag if so configured, other events' tags go.

    Args:
        event_texts: bracketed texts (casefolded) and the tag that each stands for.
    """

    def replaced(match: re.Match[str]) -> str:
        return f" {tag} " if event_texts.get(match[0].casefold()) == tag else match[0]

    for other in other_tags:
        text = text.replace(other, " ")
    return join([re.sub(r"\[[^\[\]]*\]", replaced, text)])


def label_tokens(text: str) -> int:
    """An upper estimate of Whisper's tokens for what people say, without its tokenizer.

    Byte-level BPE joins at least every two letters of a word in ASCII, and never needs more than a token a byte; the
    space before a word is part of its first token.
    """
    letters = sum(character.isascii() and character.isalpha() for character in text)
    others = len("".join(text.split()).encode()) - letters
    return -(-letters // 2) + others + _SPECIAL_TOKENS
