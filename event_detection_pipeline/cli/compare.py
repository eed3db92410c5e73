"""The command that compares two adapters: on labelled clips, or on the latest live conversations."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from event_detection_pipeline.cli.shared import (
    JsonOption,
    console,
    open_database,
    print_json,
    print_table,
    settings_with,
)
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from event_detection_pipeline.scan.listen import Heard


def compare(
    first: Annotated[str, typer.Argument(help="Such as sneeze_v2.")],
    second: Annotated[str, typer.Argument(help="Such as sneeze_v3.")],
    manifest: Annotated[Path | None, typer.Option(help="Default: the event's current manifest.")] = None,
    live: Annotated[int | None, typer.Option(min=1, help="Instead: on so many of the latest conversations.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a picture of both adapters' scores to this PNG file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Two adapters on the test split of a manifest, or on live conversations, and what they disagree on."""
    from event_detection_pipeline.adapters.store import AdapterVersion, open_store

    if manifest and live:
        raise PipelineError("--manifest and --live are two ways to compare: give one of them")
    if plot and not plot.parent.is_dir():
        raise PipelineError(f"--plot {plot}: there is no folder {plot.parent}")
    settings = settings_with()
    versions = [AdapterVersion.parse(name) for name in (first, second)]
    if versions[0] == versions[1] or versions[0].event != versions[1].event:
        raise PipelineError(f"{first} and {second} are not two adapters of one event: there is nothing to compare")
    event, store = settings.event(versions[0].event), open_store(settings)
    folders = store.path(versions[0]), store.path(versions[1])
    if live:
        _on_conversations(settings, folders, live, plot, as_json)
    else:
        _on_clips(settings, folders, event, manifest, plot, as_json)


def _on_clips(
    settings: Settings,
    folders: tuple[Path, Path],
    event: EventSettings,
    manifest: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    from event_detection_pipeline.adapters.compare import compare as compare_on
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.plots import scores_side_by_side
    from event_detection_pipeline.clips.export import manifest_path

    path = manifest or manifest_path(settings, event)
    found = compare_on(path, folders, event, settings.evaluation, choose_compute(settings.device))
    first, second = found.contenders
    if plot:
        names, thresholds = (first.name, second.name), (first.metrics.threshold, second.metrics.threshold)
        scores_side_by_side(names, thresholds, (first.scores, second.scores), found.truth).savefig(plot, format="png")
    if as_json:
        print_json(asdict(found))
        return
    rows = [
        (one.name, m.average_precision, m.recall, m.precision, m.false_alarm_rate, m.quiet.recall)
        for one in found.contenders
        for m in [one.metrics]
    ]
    columns = ("adapter", "average precision", "recall", "precision", "false-alarm rate", "recall at 0.5 alarms/h")
    print_table(columns, rows)
    console.print(f"average precision, {second.name} less {first.name}: {found.difference}")
    console.print(f"{len(found.disagreements)} of {len(found.truth)} clips are flagged by one of the two only")
    print_table(
        ("conversation", "at (s)", "event in it", first.name, second.name, "audio"),
        [
            (
                one.conversation_id,
                f"{one.start:.1f} to {one.end:.1f}",
                "yes" if one.contains_event else "no",
                f"{one.first:.3f}",
                f"{one.second:.3f}",
                one.audio,
            )
            for one in found.disagreements
        ],
    )


def _on_conversations(
    settings: Settings, folders: tuple[Path, Path], count: int, plot: Path | None, as_json: bool
) -> None:
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.plots import scores_side_by_side
    from event_detection_pipeline.scan.compare import compare_live

    names = folders[0].name, folders[1].name
    found = compare_live(
        open_database(settings),
        load_detectors(folders, choose_compute(settings.device)),
        names,
        count,
        settings.scan,
        settings.clips,
        settings.evaluation.confidence,
    )
    first, second = found.figures
    if plot:
        scores = [one.first.score for one in found.versions], [one.second.score for one in found.versions]
        truth = [one.truth for one in found.versions]
        scores_side_by_side(names, (first.threshold, second.threshold), scores, truth).savefig(plot, format="png")
    if as_json:
        print_json(asdict(found) | {"disagreements": [asdict(one) for one in found.disagreements]})
        return
    rows = [(one.name, one.threshold, one.flagged, one.right) for one in found.figures]
    print_table(("adapter", "threshold", "flags", "accepted, of those answered"), rows)
    heard, apart = len(found.versions), found.disagreements
    console.print(f"{heard} conversations heard, {found.unheard} without audio; the adapters disagree on {len(apart)}")
    print_table(
        ("conversation", "a person said", first.name, second.name),
        [
            (
                one.conversation_id,
                _ANSWERS[one.truth],
                _told(one.first, first.threshold),
                _told(one.second, second.threshold),
            )
            for one in apart
        ],
    )


_ANSWERS = {True: "event", False: "no event", None: "nothing yet"}


def _told(heard: "Heard", threshold: float) -> str:
    place = "" if heard.time is None else f" at {heard.time:.1f} s"
    return f"{'flags' if heard.score >= threshold else 'quiet'}, {heard.score:.3f}{place}"
