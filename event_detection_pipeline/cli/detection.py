"""Commands that listen: scan what nobody has answered, detect in files, serve the review page."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from event_detection_pipeline.cli.shared import (
    JsonOption,
    console,
    open_database,
    print_error,
    print_json,
    settings_with,
)


def scan(
    event: Annotated[str | None, typer.Option(help="Only this event; default: all with a promoted adapter.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many conversations, newest first.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Score and flag the conversations that nobody has answered. Several scans at once share the work."""
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.store import open_store
    from event_detection_pipeline.review.answers import settle_unfinished
    from event_detection_pipeline.scan.lineup import line_up
    from event_detection_pipeline.scan.scan import scan as run_scan

    settings = settings_with()
    events = [settings.event(event)] if event else list(settings.events)
    adapters = line_up(open_store(settings), events, shadow=settings.scan.shadow)
    database = open_database(settings)
    detectors = load_detectors(adapters.folders, choose_compute(settings.device))
    limit = limit or settings.scan.limit
    report = run_scan(
        database,
        detectors,
        settings.scan,
        settings.clips,
        limit=limit,
        shadow=adapters.shadow,
        overtaken=adapters.overtaken,
    )
    if report.lost_answers:
        settle_unfinished(database, copy_audio=settings.review.stash_copy_audio)
    if as_json:
        flags = [asdict(score) for score in report.examples]
        shadow = {"shadow_flagged": report.shadow_flagged} if adapters.shadow else {}
        counts = {"scanned": report.scanned, "flagged": report.flagged, "problems": report.problems}
        print_json(counts | shadow | {"flags": flags})
        return
    console.print(f"{report.scanned} conversations scanned, {report.flagged} flagged")
    for problem, count in report.problems.items():
        console.print(f"  without a score, {problem}: {count}")
    for adapter, count in report.shadow_flagged.items():
        console.print(f"  {adapter}, not promoted, would flag {count}")
    for score in report.examples:
        at = "" if score.time is None else f" at {score.time:.1f} s"
        console.print(f"  {score.conversation_id}: {score.event} {score.score:.3f}{at}")


def detect(
    audio: Annotated[list[Path], typer.Argument(help="Audio files of any format and length.")],
    adapter: Annotated[Path, typer.Option(help="An adapter's folder.")],
    as_json: JsonOption = False,
) -> None:
    """Detect the event in audio files. One that cannot be read is named, stops none of the others, and makes the exit
    code 1."""
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.chronicle.audio import UndecodableAudio
    from event_detection_pipeline.scan.detect import detect as run_detect
    from event_detection_pipeline.scan.listen import batch_size

    settings = settings_with()
    detectors = load_detectors([adapter], choose_compute(settings.device))
    size = batch_size(detectors, settings.scan)
    found, unreadable = [], 0
    for path in audio:
        try:
            heard = run_detect(path, detectors, size, settings.clips)
        except UndecodableAudio as error:
            print_error(str(error))
            unreadable += 1
            continue
        found += heard
        for one in () if as_json else heard:
            at = "" if one.time is None else f" at {one.time:.1f} s"
            answer = "yes" if one.detected else "no"
            typer.echo(f"{one.audio}: {one.event} {answer}, score {one.score:.3f}{at}: {one.transcript}")
    if as_json:
        print_json([asdict(one) for one in found])
    if unreadable:
        raise typer.Exit(1)


def review(
    host: Annotated[str | None, typer.Option(help="Address to serve at; other than loopback asks for a token.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
) -> None:
    """Serve the user loop: people listen to the flags and answer them."""
    from event_detection_pipeline.review.app import serve

    settings = settings_with()
    serve(
        open_database(settings), settings, host or settings.review.host, settings.review.port if port is None else port
    )
