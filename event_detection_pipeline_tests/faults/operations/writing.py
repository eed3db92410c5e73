"""Writing a manifest: the one before or the new one, never a part."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from event_detection_pipeline.clips.manifest import Clip, read_manifest, write_manifest
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline_tests.faults.world import World

_CLIP = Clip(audio="/audio/c.wav", text="oh <chime>", timestamp="2026-01-01T00:00:00+00:00", type="positive")


class WritingManifest:
    name = "manifest"
    uses_database = False

    def prepare(self, world: World) -> None:
        write_manifest(_path(world), _clips(world, "before"))

    def run(self, world: World, uri: str, number: int, promise: Callable[[str], None]) -> None:
        write_manifest(_path(world), _clips(world, "second" if number else "first"))

    def broken(self, world: World, promised: list[str]) -> Iterator[str]:
        try:
            found = read_manifest(_path(world))
        except PipelineError as error:
            yield str(error)
            return
        if found not in [_clips(world, which) for which in ("before", "first", "second")]:
            yield f"a manifest of {len(found)} lines that nobody wrote"

    def unfinished(self, world: World) -> Iterator[str]:
        if read_manifest(_path(world)) != _clips(world, "first"):
            yield "the manifest is not the new one"


def _path(world: World) -> Path:
    return world.settings.manifest_dir / "chime.jsonl"


def _clips(world: World, which: str) -> list[Clip]:
    count = {"before": 300, "first": 2000, "second": 100}[which] + world.seed % 50
    return [replace(_CLIP, conversation_id=f"{which}-{number}") for number in range(count)]
