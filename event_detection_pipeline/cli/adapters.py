"""Commands on the adapters there are: list, show, promote, rollback, withdraw, prune, compare."""

import getpass
from dataclasses import asdict
from typing import Annotated, Any

import typer
from pymongo.errors import PyMongoError

from event_detection_pipeline.chronicle.database import explain
from event_detection_pipeline.cli.compare import compare
from event_detection_pipeline.cli.shared import (
    CONTEXT,
    JsonOption,
    console,
    open_database,
    print_json,
    print_table,
    settings_with,
)
from event_detection_pipeline.errors import PipelineError

app = typer.Typer(
    help="List, show, promote, roll back, withdraw, prune and compare adapters.",
    no_args_is_help=True,
    context_settings=CONTEXT,
)

ByOption = Annotated[
    str | None, typer.Option("--by", help="Who you are; kept in the history. Default: the user's name here.")
]


@app.command("list")
def list_adapters(
    event: Annotated[str | None, typer.Option("--event", help="Only of this event; default: all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """All adapters, with their figures on the test split they were trained with."""
    from event_detection_pipeline.adapters.catalogue import catalogue

    settings = settings_with()
    entries = catalogue(settings, [settings.event(event)] if event else settings.events)
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    if not entries:
        console.print("no adapter has been trained yet: run the job full_loop")
        return
    rows = [
        (
            one.name,
            {"promote": "approved" if one.approval else "passed"}.get(one.state, one.state),
            one.average_precision,
            one.recall,
            one.false_alarm_rate,
            one.verdict,
        )
        for one in entries
    ]
    print_table(("adapter", "state", "average precision", "recall", "false-alarm rate", "evaluation"), rows)


@app.command()
def show(adapter: Annotated[str, typer.Argument(help="Such as sneeze_v3.")], as_json: JsonOption = False) -> None:
    """An adapter's model card, or with --json how it detects and how good it is."""
    from event_detection_pipeline.adapters.release import DETECTION_FILE, METRICS_FILE, read_json
    from event_detection_pipeline.adapters.store import AdapterVersion, open_store

    folder = open_store(settings_with()).path(AdapterVersion.parse(adapter))
    if as_json:
        print_json({"detection": read_json(folder / DETECTION_FILE), "metrics": read_json(folder / METRICS_FILE)})
        return
    typer.echo((folder / "README.md").read_text(encoding="utf-8"))


@app.command()
def promote(
    adapter: Annotated[str, typer.Argument(help="Such as sneeze_v3.")],
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve it, where adapters.require_approval asks.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if it did not pass the gate; kept in the history.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "by hand",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let scans use this adapter. One that did not pass the gate needs --force, one that nobody approved --approve."""
    from event_detection_pipeline.adapters.promotion import verdict_on
    from event_detection_pipeline.adapters.store import AdapterVersion, open_store

    settings = settings_with()
    version = AdapterVersion.parse(adapter)
    store = open_store(settings)
    store.path(version)
    if not force:
        verdict = verdict_on(settings, version)
        if verdict is None or not verdict.passed:
            why = verdict.reason if verdict else "it has not been evaluated"
            raise PipelineError(f"{version} is not promoted: {why}. --force promotes it all the same")
    if approve:
        store.approve(version, by=by or _who(), reason=reason)
    elif settings.adapters.require_approval and not force and store.approval(version) is None:
        raise PipelineError(f"{version} is not promoted: nobody has approved it. --approve approves it")
    note = f"{reason} (forced)" if force else reason
    _tell_promotion(store.promote(version, by=f"{by or _who()}, command line", reason=note), as_json)


@app.command()
def rollback(
    event: Annotated[str, typer.Argument(help="Name of the event.")],
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "rolled back by hand",
    rescan: Annotated[
        bool, typer.Option("--rescan", help="Take its unanswered flags back; the next scan decides on them anew.")
    ] = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let scans use the adapter that was promoted before the current one."""
    from event_detection_pipeline.adapters.store import open_store

    settings = settings_with()
    settings.event(event)
    database = open_database(settings) if rescan else None
    move = open_store(settings).rollback(event, by=f"{by or _who()}, command line", reason=reason)
    _tell_promotion(move, as_json)
    if database is None:
        return
    try:
        _withdraw(database, str(move.previous))
    except (PipelineError, PyMongoError) as error:
        why = explain(error) if isinstance(error, PyMongoError) else str(error)
        # Another rollback would go back another step.
        raise PipelineError(
            f"scans use {move.promoted} now, but not all flags of {move.previous} were taken back: {why}. Do not roll "
            f"back again; `event-detection adapters withdraw {move.previous}` takes back the rest"
        ) from error


@app.command()
def withdraw(adapter: Annotated[str, typer.Argument(help="Such as sneeze_v3.")]) -> None:
    """Take back the flags of an adapter that nobody answered; the next scan decides on them anew. May be repeated."""
    from event_detection_pipeline.adapters.store import AdapterVersion

    _withdraw(open_database(settings_with()), str(AdapterVersion.parse(adapter)))


@app.command()
def prune(
    keep: Annotated[
        int | None, typer.Option(min=1, help="Newest to keep of each event; default: adapters.keep.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete adapters that nothing needs: neither promoted nor next for a rollback, not among the newest, no flags."""
    from event_detection_pipeline.adapters.retention import prune as run_prune
    from event_detection_pipeline.adapters.store import open_store

    settings = settings_with()
    found = run_prune(
        open_store(settings),
        open_database(settings),
        [event.name for event in settings.events],
        keep or settings.adapters.keep,
        dry_run=dry_run,
    )
    if as_json:
        print_json([{"adapter": str(one.version), "deleted": one.why is None, "why": one.why} for one in found])
        return
    gone = "would be deleted" if dry_run else "deleted"
    print_table(("adapter", ""), [(one.version, f"kept: {one.why}" if one.why else gone) for one in found])


def _withdraw(database: Any, adapter: str) -> None:
    from event_detection_pipeline.scan.withdraw import withdraw_flags

    withdrawn = withdraw_flags(database, adapter)
    console.print(f"{withdrawn} flags that nobody answered were taken back; the next scan decides on them anew")


def _tell_promotion(promotion: Any, as_json: bool) -> None:
    if as_json:
        print_json(asdict(promotion))
    else:
        console.print(f"scans now use {promotion.promoted} (before: {promotion.previous or 'none'})")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number only
        return "somebody"


app.command()(compare)
