"""The manifest: one line of JSON for each clip, and the same bytes whenever the clips are the same."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from event_detection_pipeline.clips.splits import Split, split_of
from event_detection_pipeline.config import ClipSettings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.files import write_atomically


class BrokenManifest(PipelineError):
    """A manifest, or one line of it, that cannot be read; the message begins with file:line."""


@dataclass(frozen=True, slots=True)
class ClipWord:
    """A spoken word; times in seconds from the start of the clip."""

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of audio (16 kHz, mono, at most 30 s) and exactly what is heard in it.

    `text` holds the event's source tag where the event is. `start` and `end` are seconds in the conversation;
    `duration`, `words` and `event_time` (the middle of the event, None where it is not known) are seconds in the clip.
    `source` is what said so; `recording` is the event recording heard in it, if there is one. `flagged` is whether a
    person or a scan took something in this very stretch for the event; None where the line does not say.
    """

    audio: str
    text: str
    timestamp: str
    type: str
    event: str = ""
    contains_event: bool = False
    split: Split = "train"
    start: float = 0.0
    end: float = 0.0
    duration: float = 0.0
    source: str = ""
    conversation_id: str = ""
    version_id: str | None = None
    audio_sha256: str = ""
    words: tuple[ClipWord, ...] = ()
    event_time: float | None = None
    recording: str | None = None
    flagged: bool | None = None


_CLIP = TypeAdapter(Clip)


def read_manifest(path: Path, *, source_tag: str | None = None) -> list[Clip]:
    """Read a manifest. Lines of the original export (audio, text, timestamp, type) are completed.

    Args:
        source_tag: where a line does not say whether it contains the event, it does if this tag is in its text.

    Raises:
        BrokenManifest: the file is missing, or a line is not a clip.
    """
    return read_with_digest(path, source_tag=source_tag)[0]


def read_with_digest(path: Path, *, source_tag: str | None = None) -> tuple[list[Clip], str]:
    """`read_manifest`, and the `manifest_digest` of what was read, whatever is in the file a moment later."""
    try:
        data = path.read_bytes()
        # Not splitlines(): a transcript may hold other line separators, such as U+2028, unescaped.
        lines = data.decode("utf-8").split("\n")
    except OSError as error:
        raise BrokenManifest(f"{path}: {error.strerror or error}; `event-detection export` writes it") from None
    except UnicodeDecodeError as error:
        raise BrokenManifest(f"{path}: not UTF-8 text (byte {error.start})") from None
    clips = [parse_clip(line, f"{path}:{number}", source_tag) for number, line in enumerate(lines, 1) if line.strip()]
    return clips, hashlib.sha256(data).hexdigest()


def write_manifest(path: Path, clips: Iterable[Clip]) -> str:
    """Write the manifest and return its digest. A file that already says the same is left untouched."""
    return write_lines(path, [clip_line(clip) for clip in clips])


def write_lines(path: Path, lines: Sequence[str]) -> str:
    """Write a manifest of lines that `clip_line` made, as `write_manifest` does."""
    data = "".join(f"{line}\n" for line in lines).encode()
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def clip_line(clip: Clip) -> str:
    """The clip as one line of JSON, without its end."""
    return _CLIP.dump_json(clip).decode()


def manifest_digest(path: Path) -> str:
    """The SHA-256 of the file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_clip(line: str, where: str, source_tag: str | None = None) -> Clip:
    """Read one line; `where` begins the message of BrokenManifest."""
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise BrokenManifest(f"{where}: a line is one JSON object")
        return _CLIP.validate_python(_completed(fields, source_tag))
    except json.JSONDecodeError as error:
        raise BrokenManifest(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise BrokenManifest(f"{where}: {key}: {problem['msg']}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in thousands of brackets
        raise BrokenManifest(f"{where}: not a clip ({type(error).__name__})") from None


def _completed(fields: dict[str, Any], source_tag: str | None) -> dict[str, Any]:
    text, audio = fields.get("text"), fields.get("audio")
    if "contains_event" not in fields and source_tag and isinstance(text, str):
        fields["contains_event"] = source_tag in text
    if not fields.get("conversation_id") and isinstance(audio, str):
        fields["conversation_id"] = Path(audio).stem
    if "split" not in fields and fields.get("conversation_id"):
        defaults = ClipSettings()
        fractions = defaults.validation_fraction, defaults.test_fraction
        fields["split"] = split_of(str(fields["conversation_id"]), *fractions)
    return fields
