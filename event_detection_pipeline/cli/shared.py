"""What all commands share: options, settings, and how results are printed."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from event_detection_pipeline.config import EventSettings, Settings, load_settings

# Every option also works as the original scripts spelled it (--min_samples), so that a crontab line keeps working.
CONTEXT = {"token_normalize_func": lambda token: token.replace("_", "-"), "help_option_names": ["-h", "--help"]}

# What is printed holds names of files and of conversations: none of it is markup, and none is broken into lines.
console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

_ENDLESS = 10_000  # columns

EventOption = Annotated[str | None, typer.Option("--event", help="Name of the event; default: the first configured.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, to standard output.")]


def settings_with(**overrides: Any) -> Settings:
    return load_settings(**{key: value for key, value in overrides.items() if value is not None})


def chosen_event(settings: Settings, name: str | None) -> EventSettings:
    return settings.event(name) if name else settings.events[0]


def open_database(settings: Settings) -> Any:
    from event_detection_pipeline.chronicle.database import connect

    return connect(settings.mongodb_uri.get_secret_value(), settings.database_name)


def print_error(message: str) -> None:
    console.print(Text.assemble(("error:", "red"), " ", message))


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """To standard output, with nothing cut off: on a narrow terminal cells are folded, in a pipe a row is a line."""
    table = Table(*(Column(name, overflow="fold") for name in columns), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else _ENDLESS).print(table)
