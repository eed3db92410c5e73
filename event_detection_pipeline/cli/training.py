"""Commands from what people said to an adapter: export, bootstrap, feedback, train."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from event_detection_pipeline.cli.shared import EventOption, chosen_event, console, open_database, settings_with
from event_detection_pipeline.config import EventSettings
from event_detection_pipeline.errors import PipelineError


def export(
    output: Annotated[Path, typer.Option(help="The manifest to write.")] = Path("user_loop_feedback.jsonl"),
    mongo_uri: Annotated[str | None, typer.Option(help="MongoDB URI; default: MONGODB_URI.")] = None,
    db_name: Annotated[str | None, typer.Option(help="Database; default: MONGODB_DATABASE.")] = None,
    min_samples: Annotated[int | None, typer.Option(min=0, help="Fail when there are fewer clips.")] = None,
    event: EventOption = None,
) -> None:
    """Write the manifest and the audio of what people put aside for training."""
    from event_detection_pipeline.clips.export import export_clips, write_training_manifest
    from event_detection_pipeline.progress import log_progress

    settings = settings_with(mongodb_uri=mongo_uri, mongodb_database=db_name, min_samples=min_samples)
    chosen = chosen_event(settings, event)
    progress = log_progress(logging.getLogger(__name__), "stash entries")
    clips = export_clips(open_database(settings), settings, chosen, progress)
    manifest = write_training_manifest(settings, chosen, output=output)
    console.print(f"{len(manifest.clips)} clips in {manifest.path}, {len(clips.rejects)} set aside")
    for reason, count in clips.rejects_by_reason.items():
        console.print(f"  {reason}: {count} (see {clips.rejects_path})")


def train(
    train_manifest: Annotated[Path, typer.Option(help="JSONL manifest, as `export` writes it.")],
    output_dir: Annotated[Path, typer.Option(help="The adapter's folder; must not exist or be empty.")],
    base_model: Annotated[str | None, typer.Option(help="A Whisper on the hub or a folder.")] = None,
    source_tag: Annotated[str | None, typer.Option(help="The event's tag in the texts.")] = None,
    target_token: Annotated[str | None, typer.Option(help="What the adapter writes for it.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Lower it when memory runs out.")] = None,
    event: EventOption = None,
) -> None:
    """Train an adapter on a manifest into a folder of your choice (the job retrain_adapter numbers and promotes).

    On several cards: torchrun --standalone --nproc-per-node 2 --no-python event-detection train ...
    """
    from event_detection_pipeline.adapters.candidate import share_training, train_candidate
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.distributed import launched
    from event_detection_pipeline.adapters.seal import seal
    from event_detection_pipeline.files import folder_in_full

    if not train_manifest.is_file():
        raise PipelineError(f"there is no manifest {train_manifest}: `event-detection export` writes it")
    settings = settings_with(base_model=base_model)
    if batch_size:
        training = settings.training.model_copy(update={"batch_size": batch_size})
        settings = settings.model_copy(update={"training": training})
    chosen = _spelled(chosen_event(settings, event), source_tag, target_token)
    output_dir = _free(output_dir)
    compute, processes = choose_compute(settings.device), launched()
    if not processes.is_first:
        logging.getLogger("event_detection_pipeline").setLevel(logging.WARNING)  # the first tells how it goes
        share_training(chosen, settings, compute, processes)
        return
    with folder_in_full(output_dir) as draft:
        candidate = train_candidate(train_manifest, draft, chosen, settings, compute, processes)
        seal(draft)
    test = candidate.test
    console.print(f"{output_dir}: on {test.clips} test clips with {test.events} events")
    console.print(f"  average precision {test.average_precision}, recall {test.recall}, precision {test.precision}")
    console.print(f"  false-alarm rate {test.false_alarm_rate} at threshold {test.threshold:.4f}")


def _spelled(event: EventSettings, source_tag: str | None, target_token: str | None) -> EventSettings:
    for option, word in (("--source-tag", source_tag), ("--target-token", target_token)):
        if word and any(letter.isspace() for letter in word):
            raise PipelineError(f"{option} {word!r}: it must be one word, without spaces")
    return EventSettings(
        name=event.name, source_tag=source_tag or event.source_tag, target_token=target_token or event.target_token
    )


def _free(output_dir: Path) -> Path:
    """Where the adapter's folder will be; what a training would fail on at its end is said before it."""
    place = output_dir.resolve()
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise PipelineError(f"{output_dir} is not empty: adapters are never overwritten, choose another --output-dir")
    if place.is_mount():
        raise PipelineError(f"{output_dir} is a mount point, which no folder can replace: choose a folder in it")
    return place


def bootstrap(
    audio_dir: Annotated[Path, typer.Option(help="A folder of recordings: wav, mp3, m4a, flac, ogg, opus.")],
    event: EventOption = None,
) -> None:
    """Give recordings of the event: the next export uses them alone and mixed into the household's conversations."""
    _take_in(audio_dir, event, contains_event=True)


def feedback(
    audio: Annotated[Path, typer.Option(help="An audio file, or a folder of them.")],
    positive: Annotated[bool, typer.Option("--positive/--negative", help="Whether the event is in it.")],
    event: EventOption = None,
) -> None:
    """Say of a recording that the event is in it, or that it is not."""
    _take_in(audio, event, contains_event=positive)


def _take_in(audio: Path, event: str | None, *, contains_event: bool) -> None:
    from event_detection_pipeline.clips.recordings import add_recordings

    settings = settings_with()
    report = add_recordings(settings, chosen_event(settings, event), audio, contains_event=contains_event)
    added, set_aside = len(report.added), len(report.rejects)
    console.print(f"{added} recordings taken in, {report.known} known already, {set_aside} set aside")
    for reject in report.rejects:
        console.print(f"  {reject.document_id}: {reject.reason} {reject.detail}")
    console.print("The next export uses them: the job export_training_data, or `event-detection export`")
