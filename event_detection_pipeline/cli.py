"""`event-detection`: the commands, thin over the same functions that the Dagster assets call."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from event_detection_pipeline.config import EventSettings, Settings, SettingsError, load_settings
from event_detection_pipeline.errors import PipelineError

# Every option also works as the original scripts spelled it (--min_samples), so that a crontab line keeps working.
_CONTEXT = {"token_normalize_func": lambda token: token.replace("_", "-"), "help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="event-detection",
    help="Teach Whisper the events of your home, and flag the conversations they are in.",
    no_args_is_help=True,
    add_completion=False,
    context_settings=_CONTEXT,
    pretty_exceptions_enable=False,
)
adapters_app = typer.Typer(
    help="List, show, promote, roll back and compare adapters.", no_args_is_help=True, context_settings=_CONTEXT
)
app.add_typer(adapters_app, name="adapters")

console = Console(stderr=True, highlight=False)

EventOption = Annotated[str | None, typer.Option("--event", help="Name of the event; default: the first configured.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, to standard output.")]


def main() -> None:
    """Run a command; what a person can do something about is one message and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("event_detection_pipeline").setLevel(logging.INFO)
    try:
        app()
    except (PipelineError, SettingsError, OSError) as error:
        _fail(str(error))
    except PyMongoError as error:
        # The driver's message may quote the URI with its password.
        _fail(f"MongoDB failed in mid-work ({type(error).__name__}); what was written is kept, run the command again")
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for a command that needs none
            raise
        _fail(
            "CUDA ran out of memory: lower scan.batch_size or training.batch_size (--batch-size), run on the CPU "
            '(device = "cpu"), or take a smaller base_model such as openai/whisper-small'
        )


def _fail(message: str) -> NoReturn:
    console.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True)
    raise SystemExit(1)


@app.command()
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

    settings = _settings(mongodb_uri=mongo_uri, mongodb_database=db_name, min_samples=min_samples)
    chosen = _event(settings, event)
    progress = log_progress(logging.getLogger(__name__), "stash entries")
    clips = export_clips(_database(settings), settings, chosen, progress)
    manifest = write_training_manifest(settings, chosen, output=output)
    console.print(f"{len(manifest.clips)} clips in {manifest.path}, {len(clips.rejects)} set aside")
    for reason, count in clips.rejects_by_reason.items():
        console.print(f"  {reason}: {count} (see {clips.rejects_path})")


@app.command()
def train(
    train_manifest: Annotated[Path, typer.Option(help="JSONL manifest, as `export` writes it.")],
    output_dir: Annotated[Path, typer.Option(help="The adapter's folder; must not exist or be empty.")],
    base_model: Annotated[str | None, typer.Option(help="A Whisper on the hub or a folder.")] = None,
    source_tag: Annotated[str | None, typer.Option(help="The event's tag in the texts.")] = None,
    target_token: Annotated[str | None, typer.Option(help="What the adapter writes for it.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Lower it when memory runs out.")] = None,
    event: EventOption = None,
) -> None:
    """Train an adapter on a manifest into a folder of your choice (the job retrain_adapter numbers and promotes)."""
    from event_detection_pipeline.adapters.candidate import train_candidate
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.files import folder_in_full

    settings = _settings(base_model=base_model)
    if batch_size:
        training = settings.training.model_copy(update={"batch_size": batch_size})
        settings = settings.model_copy(update={"training": training})
    chosen = _event(settings, event)
    chosen = EventSettings(
        name=chosen.name,
        source_tag=source_tag or chosen.source_tag,
        target_token=target_token or chosen.target_token,
    )
    if output_dir.is_dir() and any(output_dir.iterdir()):
        raise PipelineError(f"{output_dir} is not empty: adapters are never overwritten, choose another --output-dir")
    compute = choose_compute(settings.device)
    with folder_in_full(output_dir) as draft:
        candidate = train_candidate(train_manifest, draft, chosen, settings, compute)
    test = candidate.test
    console.print(f"{output_dir}: on {test.clips} test clips with {test.events} events")
    console.print(f"  average precision {test.average_precision}, recall {test.recall}, precision {test.precision}")
    console.print(f"  false-alarm rate {test.false_alarm_rate} at threshold {test.threshold:.4f}")


@app.command()
def scan(
    event: Annotated[str | None, typer.Option(help="Only this event; default: all with a promoted adapter.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many conversations, newest first.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Score and flag the conversations that nobody has answered."""
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.store import AdapterStore
    from event_detection_pipeline.scan.scan import scan as run_scan

    settings = _settings()
    events = [settings.event(event)] if event else list(settings.events)
    folders = AdapterStore(settings.adapter_dir).promoted_folders(events)
    database = _database(settings)
    detectors = load_detectors(folders, choose_compute(settings.device))
    report = run_scan(database, detectors, settings.scan, settings.clips, limit=limit or settings.scan.limit)
    if as_json:
        flags = [asdict(score) for score in report.examples]
        _print_json({"scanned": report.scanned, "flagged": report.flagged, "problems": report.problems, "flags": flags})
        return
    console.print(f"{report.scanned} conversations scanned, {report.flagged} flagged")
    for problem, count in report.problems.items():
        console.print(f"  without a score, {problem}: {count}")
    for score in report.examples:
        at = "" if score.time is None else f" at {score.time:.1f} s"
        console.print(f"  {score.conversation_id}: {score.event} {score.score:.3f}{at}")


@app.command()
def detect(
    audio: Annotated[list[Path], typer.Argument(help="Audio files of any format and length.")],
    adapter: Annotated[Path, typer.Option(help="An adapter's folder.")],
    as_json: JsonOption = False,
) -> None:
    """Detect the event in audio files."""
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.scan.detect import detect as run_detect

    settings = _settings()
    detectors = load_detectors([adapter], choose_compute(settings.device))
    found = list(run_detect(audio, detectors, settings.scan, settings.clips))
    if as_json:
        _print_json([asdict(one) for one in found])
        return
    rows = [
        (one.audio, one.event, f"{one.score:.3f}", "yes" if one.detected else "no", _seconds(one.time), one.transcript)
        for one in found
    ]
    _print_table(("audio", "event", "score", "detected", "at (s)", "transcript"), rows)


@app.command()
def bootstrap(
    audio_dir: Annotated[Path, typer.Option(help="A folder of recordings: wav, mp3, m4a, flac, ogg, opus.")],
    event: EventOption = None,
) -> None:
    """Give recordings of the event: the next export uses them alone and mixed into the household's conversations."""
    _take_in(audio_dir, event, contains_event=True)


@app.command()
def feedback(
    audio: Annotated[Path, typer.Option(help="An audio file, or a folder of them.")],
    positive: Annotated[bool, typer.Option("--positive/--negative", help="Whether the event is in it.")],
    event: EventOption = None,
) -> None:
    """Say of a recording that the event is in it, or that it is not."""
    _take_in(audio, event, contains_event=positive)


@app.command()
def review(
    host: Annotated[str | None, typer.Option(help="Address to serve at; other than loopback asks for a token.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
) -> None:
    """Serve the user loop: people listen to the flags and answer them."""
    from event_detection_pipeline.review.app import serve

    settings = _settings()
    serve(_database(settings), settings, host or settings.review.host, settings.review.port if port is None else port)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check each thing a run needs; exit code 1 when something is missing."""
    from event_detection_pipeline.doctor import examine

    findings = list(examine(_settings()))
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        rows = [(one.check, "ok" if one.ok else "missing", one.found, one.advice) for one in findings]
        _print_table(("check", "", "found", "what to do"), rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where everything goes.")] = Path(".demo"),
) -> None:
    """Run the whole loop on a small household that comes with the package."""
    from event_detection_pipeline.demo.run import run

    run(folder)


@adapters_app.command("list")
def list_adapters(event: EventOption = None, as_json: JsonOption = False) -> None:
    """All adapters, with their figures on the test split they were trained with."""
    from event_detection_pipeline.adapters.catalogue import catalogue

    settings = _settings()
    entries = catalogue(settings, [settings.event(event)] if event else settings.events)
    if as_json:
        _print_json([asdict(entry) for entry in entries])
        return
    rows = [
        (
            one.name,
            "promoted" if one.promoted else "",
            one.average_precision,
            one.recall,
            one.false_alarm_rate,
            one.verdict,
        )
        for one in entries
    ]
    _print_table(("adapter", "", "average precision", "recall", "false-alarm rate", "evaluation"), rows)


@adapters_app.command()
def show(adapter: Annotated[str, typer.Argument(help="Such as sneeze_v3.")], as_json: JsonOption = False) -> None:
    """An adapter's model card, or with --json how it detects and how good it is."""
    from event_detection_pipeline.adapters.release import DETECTION_FILE, METRICS_FILE, read_json
    from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion

    folder = AdapterStore(_settings().adapter_dir).path(AdapterVersion.parse(adapter))
    if as_json:
        _print_json({"detection": read_json(folder / DETECTION_FILE), "metrics": read_json(folder / METRICS_FILE)})
        return
    typer.echo((folder / "README.md").read_text(encoding="utf-8"))


@adapters_app.command()
def promote(
    adapter: Annotated[str, typer.Argument(help="Such as sneeze_v3.")],
    force: Annotated[bool, typer.Option("--force", help="Even if it did not pass the gate.")] = False,
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "by hand",
    as_json: JsonOption = False,
) -> None:
    """Let scans use this adapter. One that did not pass the gate needs --force."""
    from event_detection_pipeline.adapters.evaluate import evaluation_path, read_verdict
    from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion

    settings = _settings()
    version = AdapterVersion.parse(adapter)
    store = AdapterStore(settings.adapter_dir)
    store.path(version)
    verdict = read_verdict(evaluation_path(settings.evaluation_dir, version))
    if not force and (verdict is None or not verdict.passed):
        why = verdict.reason if verdict else "it has not been evaluated"
        raise PipelineError(f"{version} is not promoted: {why}. --force promotes it all the same")
    note = f"{reason} (forced)" if force else reason
    _tell_promotion(store.promote(version, by="command line", reason=note), as_json)


@adapters_app.command()
def rollback(
    event: Annotated[str, typer.Argument(help="Name of the event.")],
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "rolled back by hand",
    as_json: JsonOption = False,
) -> None:
    """Let scans use the adapter that was promoted before the current one."""
    from event_detection_pipeline.adapters.store import AdapterStore

    settings = _settings()
    settings.event(event)
    _tell_promotion(AdapterStore(settings.adapter_dir).rollback(event, by="command line", reason=reason), as_json)


@adapters_app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Such as sneeze_v2.")],
    second: Annotated[str, typer.Argument(help="Such as sneeze_v3.")],
    manifest: Annotated[Path | None, typer.Option(help="Default: the event's current manifest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Two adapters on the test split of a manifest, and the clips they disagree on."""
    from event_detection_pipeline.adapters.compare import compare as run_compare
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
    from event_detection_pipeline.clips.export import manifest_path

    settings = _settings()
    versions = [AdapterVersion.parse(name) for name in (first, second)]
    if versions[0].event != versions[1].event:
        raise PipelineError(f"{first} and {second} are for different events: they cannot be compared on the same clips")
    event = settings.event(versions[0].event)
    store = AdapterStore(settings.adapter_dir)
    comparison = run_compare(
        manifest or manifest_path(settings, event),
        [store.path(version) for version in versions],
        event,
        settings.evaluation,
        choose_compute(settings.device),
    )
    if as_json:
        _print_json(asdict(comparison))
        return
    rows = [
        (
            one.name,
            one.metrics.average_precision,
            one.metrics.recall,
            one.metrics.precision,
            one.metrics.false_alarm_rate,
        )
        for one in comparison.contenders
    ]
    _print_table(("adapter", "average precision", "recall", "precision", "false-alarm rate"), rows)
    for one in comparison.disagreements:
        console.print(f"  {one.audio}: {first} {one.first:.3f}, {second} {one.second:.3f}, event: {one.contains_event}")


def _settings(**overrides: Any) -> Settings:
    return load_settings(**{key: value for key, value in overrides.items() if value is not None})


def _event(settings: Settings, name: str | None) -> EventSettings:
    return settings.event(name) if name else settings.events[0]


def _database(settings: Settings) -> Any:
    from event_detection_pipeline.chronicle.database import connect

    return connect(settings.mongodb_uri.get_secret_value(), settings.database_name)


def _tell_promotion(promotion: Any, as_json: bool) -> None:
    if as_json:
        _print_json(asdict(promotion))
    else:
        console.print(f"scans now use {promotion.promoted} (before: {promotion.previous or 'none'})")


def _take_in(audio: Path, event: str | None, *, contains_event: bool) -> None:
    from event_detection_pipeline.clips.recordings import add_recordings

    settings = _settings()
    report = add_recordings(settings, _event(settings, event), audio, contains_event=contains_event)
    added, set_aside = len(report.added), len(report.rejects)
    console.print(f"{added} recordings taken in, {report.known} known already, {set_aside} set aside")
    for reject in report.rejects:
        console.print(f"  {reject.document_id}: {reject.reason} {reject.detail}")
    console.print("The next export uses them: the job export_training_data, or `event-detection export`")


def _seconds(time: float | None) -> str:
    return "unknown" if time is None else f"{time:.1f}"


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def _print_table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
