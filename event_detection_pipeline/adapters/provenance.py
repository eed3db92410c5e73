"""Which conversations an adapter was trained on: people may ask, and have a right to be forgotten."""

from collections.abc import Iterable
from pathlib import Path

from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.clips.manifest import Clip
from event_detection_pipeline.files import write_atomically

CONVERSATIONS_FILE = "conversations.txt"


def write_conversations(folder: Path, clips: Iterable[Clip]) -> None:
    """List the conversations of an adapter's clips in its folder, one id a line; the test's are in its figures too."""
    ids = sorted({clip.conversation_id for clip in clips})
    write_atomically(folder / CONVERSATIONS_FILE, "".join(f"{id_}\n" for id_ in ids).encode())


def trained_on(store: AdapterStore, conversation_id: str) -> list[str]:
    """The adapters of a store that know a conversation, by name."""
    lists = sorted(store.texts(CONVERSATIONS_FILE).items())
    return [name for name, ids in lists if conversation_id in ids.splitlines()]
