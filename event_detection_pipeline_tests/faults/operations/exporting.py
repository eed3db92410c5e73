"""Export: clips and manifest are in full or not there, and in the end those of an undisturbed export."""

import base64
import wave
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from event_detection_pipeline.clips.checks import check_audio
from event_detection_pipeline.clips.export import export_clips, manifest_path, write_training_manifest
from event_detection_pipeline.clips.manifest import read_manifest
from event_detection_pipeline.config import Settings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline_tests.faults.world import CHIME, World, index_as_chronicle_does, say
from event_detection_pipeline_tests.household import add_conversation, add_stash_entry
from event_detection_pipeline_tests.review.flags import add_flagged
from event_detection_pipeline_tests.sounds import encode, tone


class Exporting:
    name = "export"
    uses_database = True

    def prepare(self, world: World) -> None:
        database = world.open()
        index_as_chronicle_does(database)
        for number in range(4):
            text = "good <chime> morning" if number % 2 else "good morning"
            chunks = [{"chunk_index": 0, "audio_data": _sound(1 + (world.seed + number) % 3)}]
            id_ = add_conversation(database, conversation_id=f"c{number}", chunks=chunks, transcript=text)
            copies = [{"chunk_index": 0, "audio_data": base64.b64encode(_sound(1)).decode()}]
            add_stash_entry(database, id_, transcript=text, audio_chunks=copies)
        add_stash_entry(database, add_conversation(database, conversation_id="silent", chunks=[]))
        chunks = [{"chunk_index": 0, "audio_data": _sound(2)}]
        say(database, add_flagged(database, event="chime", conversation_id="yes", chunks=chunks), "accepted", "ada")
        database.client.close()

    def run(self, world: World, uri: str, number: int, promise: Callable[[str], None]) -> None:
        export(world, uri, world.settings)

    def broken(self, world: World, promised: list[str]) -> Iterator[str]:
        for file in world.settings.audio_dir.glob("[!.]*"):
            try:
                with wave.open(str(file), "rb") as sound:
                    whole = len(sound.readframes(sound.getnframes())) == 2 * sound.getnframes() > 0
            except (wave.Error, EOFError) as error:
                yield f"{file.name}: {error}"
            else:
                if not whole:
                    yield f"{file.name} is cut short"
        manifest = manifest_path(world.settings, CHIME)
        if manifest.is_file():
            try:
                clips = read_manifest(manifest)
            except PipelineError as error:
                yield str(error)
                return
            yield from check_audio(clips).examples
            if len({clip.audio for clip in clips}) < len(clips):
                yield "a clip is in the manifest twice"

    def unfinished(self, world: World) -> Iterator[str]:
        beside = world.settings.model_copy(update={"data_dir": world.folder / "undisturbed"})
        export(world, world.uri, beside)
        if _made(world.settings) != _made(beside):
            yield f"made {sorted(_made(world.settings))}, undisturbed {sorted(_made(beside))}"
        named = {Path(clip.audio).name for clip in read_manifest(manifest_path(world.settings, CHIME))}
        if orphans := {file.name for file in world.settings.audio_dir.glob("[!.]*")} - named:
            yield f"audio that no clip names: {sorted(orphans)}"


def export(world: World, uri: str, settings: Settings) -> None:
    database = world.open(uri)
    export_clips(database, settings, CHIME)
    write_training_manifest(settings, CHIME, min_samples=0)
    database.client.close()


def _made(settings: Settings) -> set[tuple[str, str, bool, str]]:
    clips = read_manifest(manifest_path(settings, CHIME))
    return {(Path(clip.audio).name, clip.text, clip.contains_event, clip.audio_sha256) for clip in clips}


@cache
def _sound(seconds: int) -> bytes:
    return encode(tone(seconds))
