"""The plot of people's answers, drawn without a display."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from event_detection_pipeline.review.metrics import ReviewMetrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_LABELS = 12  # weeks named below the plot; more would overlap


def false_positives_by_week(rows: Sequence[ReviewMetrics]) -> "Figure":
    """False positive rate of each adapter over the weeks in which its flags were answered, with its intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3))
    axis = figure.subplots()
    answered = [row for row in rows if row.week and row.reviewed]
    weeks = sorted({row.week for row in answered if row.week})
    adapters = sorted({row.adapter for row in answered})
    for number, adapter in enumerate(adapters):
        own = [row for row in answered if row.adapter == adapter]
        # Beside each other, so that intervals of the same week do not hide one another.
        places = [weeks.index(str(row.week)) + (number - (len(adapters) - 1) / 2) * 0.08 for row in own]
        rates = [row.false_positive_rate for row in own]
        values = [rate.value or 0.0 for rate in rates]
        errors = [
            [value - (rate.low or 0.0) for value, rate in zip(values, rates, strict=True)],
            [(rate.high or 0.0) - value for value, rate in zip(values, rates, strict=True)],
        ]
        axis.errorbar(places, values, yerr=errors, marker="o", markersize=4, capsize=3, label=adapter)
    axis.set(ylabel="false positive rate", ylim=(-0.02, 1.02))
    step = -(-len(weeks) // MAX_LABELS) or 1
    axis.set_xticks(range(0, len(weeks), step), weeks[::step], rotation=30, ha="right")
    if adapters:
        axis.legend(fontsize="small")
    return figure
