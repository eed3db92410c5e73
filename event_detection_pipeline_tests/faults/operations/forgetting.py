"""Forgetting: in the end nothing is left of the conversation, and everything of the others."""

from collections.abc import Callable, Iterator
from pathlib import Path

from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS, CONVERSATIONS
from event_detection_pipeline.clips.export import manifest_path
from event_detection_pipeline.clips.manifest import Clip, read_manifest
from event_detection_pipeline.forget import forget
from event_detection_pipeline_tests.faults.operations.exporting import Exporting, export
from event_detection_pipeline_tests.faults.world import CHIME, World

_GONE = "c1"
_CHRONICLES = {CONVERSATIONS, AUDIO_CHUNKS}


class Forgetting:
    name = "forget"
    uses_database = True

    def prepare(self, world: World) -> None:
        Exporting().prepare(world)
        database = world.open()
        export(world, world.uri, world.settings)
        export(world, world.uri, world.settings.model_copy(update={"data_dir": world.folder / "before"}))
        database[CONVERSATIONS].update_one({"conversation_id": _GONE}, {"$set": {"deleted": True}})
        database.client.close()

    def run(self, world: World, uri: str, number: int, promise: Callable[[str], None]) -> None:
        database = world.open(uri)
        forget(database, world.settings, _GONE)
        promise(_GONE)
        database.client.close()

    def broken(self, world: World, promised: list[str]) -> Iterator[str]:
        if _others(world, "data") != _others(world, "before"):
            yield "the manifest no longer says of the others what it said"
        if promised:
            yield from self.unfinished(world)

    def unfinished(self, world: World) -> Iterator[str]:
        database = world.open()
        for name in set(database.list_collection_names()) - _CHRONICLES:
            if database[name].count_documents({"conversation_id": _GONE}):
                yield f"{name} still has documents of {_GONE}"
        database.client.close()
        if any(clip.conversation_id == _GONE for clip in _clips(world, "data")):
            yield f"the manifest still has lines of {_GONE}"
        named = {Path(clip.audio).name for clip in _clips(world, "data")}
        if left := {file.name for file in world.settings.audio_dir.glob("[!.]*")} - named:
            yield f"audio is left: {sorted(left)}"


def _clips(world: World, folder: str) -> list[Clip]:
    settings = world.settings.model_copy(update={"data_dir": world.folder / folder})
    return read_manifest(manifest_path(settings, CHIME))


def _others(world: World, folder: str) -> set[tuple[str, str, int]]:
    """Names, texts and sizes in bytes of the other conversations' clips."""
    clips = [clip for clip in _clips(world, folder) if clip.conversation_id != _GONE]
    files = [Path(clip.audio) for clip in clips]
    sizes = [file.stat().st_size if file.is_file() else 0 for file in files]
    return {(file.name, clip.text, size) for file, clip, size in zip(files, clips, sizes, strict=True)}
