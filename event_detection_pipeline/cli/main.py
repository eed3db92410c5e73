"""`event-detection`: the commands put together, and what they say when something fails."""

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pymongo.errors import PyMongoError
from safetensors import SafetensorError

from event_detection_pipeline.chronicle.database import explain
from event_detection_pipeline.cli import adapters, detection, training
from event_detection_pipeline.cli.shared import (
    CONTEXT,
    JsonOption,
    console,
    open_database,
    print_error,
    print_json,
    print_table,
    settings_with,
)
from event_detection_pipeline.config import SettingsError
from event_detection_pipeline.errors import PipelineError

app = typer.Typer(
    name="event-detection",
    help="Teach Whisper the events of your home, and flag the conversations they are in.",
    no_args_is_help=True,
    add_completion=False,
    context_settings=CONTEXT,
    pretty_exceptions_enable=False,
)
for command in (
    training.export,
    training.train,
    detection.scan,
    detection.detect,
    training.bootstrap,
    training.feedback,
    detection.review,
):
    app.command()(command)
app.add_typer(adapters.app, name="adapters")


def main() -> None:
    """Run a command; what a person can do something about is one message and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("event_detection_pipeline").setLevel(logging.INFO)
    try:
        app()
    except (PipelineError, SettingsError, OSError, SafetensorError) as error:  # the last: a full disk, too
        _fail(str(error))
    except PyMongoError as error:
        _fail(explain(error))
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for a command that needs none
            raise
        _fail(
            "CUDA ran out of memory: lower scan.batch_size or training.batch_size (--batch-size), run on the CPU "
            '(device = "cpu"), or take a smaller base_model such as openai/whisper-small'
        )


def _fail(message: str) -> NoReturn:
    print_error(message)
    raise SystemExit(1)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check each thing a run needs; exit code 1 when something is missing."""
    from event_detection_pipeline.doctor import examine

    findings = list(examine(settings_with()))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(one.check, "ok" if one.ok else "missing", one.found, one.advice) for one in findings]
        print_table(("check", "", "found", "what to do"), rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def forget(
    conversation: Annotated[str, typer.Option(help="The conversation's id.")],
    as_json: JsonOption = False,
) -> None:
    """Remove everything made of a conversation: clips, manifest lines, stash entries, scores and answers."""
    from event_detection_pipeline.forget import forget as run_forget

    settings = settings_with()
    gone = run_forget(open_database(settings), settings, conversation)
    if as_json:
        print_json(asdict(gone))
        return
    console.print(
        f"removed {gone.clips} clips, {gone.manifest_lines} manifest lines, {gone.stash_entries} stash entries, "
        f"{gone.scans} scores, {gone.reviews} answers, and the cache of encoder states"
    )
    if gone.adapters:
        console.print(f"trained on it, and cannot unlearn it: {', '.join(gone.adapters)}. Train anew to be rid of it")
    if gone.still_in_chronicle:
        console.print("Chronicle still has the conversation: delete it there, else the next scan listens to it again")


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where everything goes.")] = Path(".demo"),
) -> None:
    """Run the whole loop on a small household that comes with the package."""
    from event_detection_pipeline.demo.run import run

    run(folder)


if __name__ == "__main__":
    main()
