"""What was set aside, and why: a reason a machine can count, and the document a person can look up."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from event_detection_pipeline.files import write_atomically


class RejectReason(StrEnum):
    """Why something in the database, or a recording, became no clip."""

    MALFORMED_DOCUMENT = "malformed_document"
    CONVERSATION_DELETED = "conversation_deleted"
    NO_TRANSCRIPT = "no_transcript"
    NO_AUDIO = "no_audio"
    UNDECODABLE_AUDIO = "undecodable_audio"
    AUDIO_GAP = "audio_gap"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    NO_TIMES = "no_times"
    POOR_ALIGNMENT = "poor_alignment"
    EVENT_TIME_UNKNOWN = "event_time_unknown"
    NO_PLACE_TO_CUT = "no_place_to_cut"
    NOT_EVENT_FREE = "not_event_free"
    LABEL_TOO_LONG = "label_too_long"


@dataclass(frozen=True, slots=True)
class Reject:
    """One thing set aside: `document_id` is its id in `source`; `start` and `end` are the seconds of a window."""

    reason: RejectReason
    source: str
    document_id: str
    conversation_id: str | None = None
    detail: str = ""
    start: float | None = None
    end: float | None = None


class SetAside(Exception):
    """Raised where something turns out to be unusable, and caught where its document is known."""

    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def count_by_reason(rejects: Iterable[Reject]) -> dict[str, int]:
    """How many were set aside for each reason, the most frequent first."""
    return dict(Counter(str(reject.reason) for reject in rejects).most_common())


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """Write one JSON line for each."""
    lines = (json.dumps(asdict(reject), ensure_ascii=False) + "\n" for reject in rejects)
    write_atomically(path, "".join(lines).encode())


def forget_rejects(path: Path, conversation_id: str) -> None:
    """Remove the lines about a conversation from what `write_rejects` wrote."""
    lines = path.read_text(encoding="utf-8").split("\n")
    kept = [line for line in lines if not line or json.loads(line)["conversation_id"] != conversation_id]
    if kept != lines:
        write_atomically(path, "\n".join(kept).encode())
