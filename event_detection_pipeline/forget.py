"""Forgetting: everything that this project made of one conversation, and where it cannot be taken back."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.adapters.checkpoints import remove_held
from event_detection_pipeline.adapters.provenance import trained_on
from event_detection_pipeline.adapters.store import open_store
from event_detection_pipeline.chronicle.database import (
    CONVERSATIONS,
    EVENT_REVIEWS,
    EVENT_SCAN_LEASES,
    EVENT_SCANS,
    EVENT_SHADOW_SCANS,
    JOURNALED,
    TRAINING_STASH,
)
from event_detection_pipeline.clips.cutting import file_stem
from event_detection_pipeline.clips.export import index_path, nobody_else_exports
from event_detection_pipeline.clips.index import forget_conversation
from event_detection_pipeline.clips.manifest import read_manifest, write_manifest
from event_detection_pipeline.clips.rejects import forget_rejects
from event_detection_pipeline.config import Settings
from event_detection_pipeline.files import write_atomically


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed, and what is left: adapters cannot unlearn, and Chronicle's own copy is the app's to delete."""

    clips: int
    adapters: tuple[str, ...]
    manifest_lines: int
    stash_entries: int
    scans: int
    reviews: int
    still_in_chronicle: bool


def forget(database: Database[dict[str, Any]], settings: Settings, conversation_id: str) -> Forgotten:
    """Remove a conversation's clips, audio, manifest lines, stash entries, scores and answers, and name the adapters
    that were trained on it. Evaluations keep their figures without its name. The cache of encoder states goes as a
    whole: it is made again by the next training.

    Raises:
        BrokenIndex, BrokenManifest: what can be removed elsewhere has been.
        OSError: the shared store does not answer; all is removed, but which adapters know it could not be read.
    """
    of_conversation = {"conversation_id": conversation_id}
    database = database.with_options(write_concern=JOURNALED)
    with nobody_else_exports(settings):
        stash = database[TRAINING_STASH].delete_many(of_conversation).deleted_count
        scans = sum(
            database[name].delete_many(of_conversation).deleted_count for name in (EVENT_SCANS, EVENT_SHADOW_SCANS)
        )
        database[EVENT_SCAN_LEASES].delete_many(of_conversation)
        reviews = database[EVENT_REVIEWS].delete_many(of_conversation).deleted_count
        clips = forget_conversation(index_path(settings), conversation_id)
        # Also what a killed export cut and did not note any more; a stem has no underscore.
        for pattern in (".wav", "_*.wav"):
            for path in settings.audio_dir.glob(file_stem(conversation_id) + pattern):
                path.unlink(missing_ok=True)
        lists = set(settings.manifest_dir.glob("*.jsonl"))
        rejects = set(settings.manifest_dir.glob("*.rejects.jsonl"))
        for path in rejects:
            forget_rejects(path, conversation_id)
        lines = sum(_without(manifest, conversation_id) for manifest in sorted(lists - rejects))
    for path in settings.evaluation_dir.glob("*.json"):
        _unname(path, file_stem(conversation_id))
    shutil.rmtree(settings.state_cache_dir, ignore_errors=True)
    remove_held(settings.checkpoint_dir)
    kept = database[CONVERSATIONS].find_one(of_conversation | {"deleted": {"$ne": True}}, {"_id": 1})
    adapters = tuple(trained_on(open_store(settings), conversation_id))
    return Forgotten(clips, adapters, lines, stash, scans, reviews, still_in_chronicle=kept is not None)


def _unname(evaluation: Path, stem: str) -> None:
    """Take a conversation's name out of the audio files that an evaluation names; its figures stay."""
    text = evaluation.read_text("utf-8", errors="replace")
    unnamed = re.sub(rf'(?<=[/\\"]){re.escape(stem)}(?=\.wav|_\d)', "forgotten", text)
    if unnamed != text:
        write_atomically(evaluation, unnamed.encode())


def _without(manifest: Path, conversation_id: str) -> int:
    """Rewrite a manifest without a conversation's lines; how many there were."""
    clips = read_manifest(manifest)
    kept = [clip for clip in clips if clip.conversation_id != conversation_id]
    if len(kept) < len(clips):
        write_manifest(manifest, kept)
    return len(clips) - len(kept)
