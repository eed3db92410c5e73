"""What all assets share: owners, and metadata in the form the UI shows well."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWNERS = ["team:household"]
GPU_POOL = "gpu"  # one step at a time; the limit is in dagster.yaml
EXAMPLES = 8  # rows of an example table


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """A table of rows that share their keys; cells become text where they are no numbers. Without rows it is "none":
    the UI would show a table without columns."""
    if not rows:
        return dg.MetadataValue.text("none")
    records = [
        dg.TableRecord(
            {key: value if isinstance(value, int | float | bool) else str(value) for key, value in row.items()}
        )
        for row in rows
    ]
    columns = [dg.TableColumn(key, _column_type(value)) for key, value in rows[0].items()]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))


def side_by_side(rows: Sequence[Mapping[str, Any]], name: str) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """The rows as columns, each under what it has at `name`: for many figures of few things. The UI cuts off a table
    that is wider than its place."""
    figures = [key for key in rows[0] if key != name] if rows else []
    return table([{"figure": key} | {str(row[name]): str(row[key]) for row in rows} for key in figures])


def image(figure: "Figure") -> dg.MarkdownMetadataValue:
    """A small PNG inside the event log, which is never pruned by itself: 70 dots an inch keep it below 30 kB."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=70, bbox_inches="tight")
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")


def _column_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "string"
