"""The figures of the answers as files for a notebook or a spreadsheet."""

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from event_detection_pipeline.files import write_atomically
from event_detection_pipeline.review.metrics import ReviewMetrics


def write_tables(rows: Sequence[ReviewMetrics], folder: Path) -> tuple[Path, Path]:
    """Write review_metrics.parquet and review_metrics.csv, one row for each adapter and week (empty: all weeks).

    An estimate becomes three columns: `accuracy`, `accuracy_low` and `accuracy_high`.
    """
    import pandas as pd

    frame = pd.DataFrame([_flat(row) for row in rows])
    parquet, csv = folder / "review_metrics.parquet", folder / "review_metrics.csv"
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    write_atomically(parquet, buffer.getvalue())
    write_atomically(csv, frame.to_csv(index=False).encode())
    return parquet, csv


def _flat(row: ReviewMetrics) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in asdict(row).items():
        if isinstance(value, dict):
            flat |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        else:
            flat[name] = value
    return flat
