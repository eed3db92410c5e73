"""Plots of training and evaluation, drawn without a display."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.special import logit
from scipy.stats import norm
from sklearn.metrics import det_curve, precision_recall_curve

from event_detection_pipeline.adapters.contender import Contender
from event_detection_pipeline.adapters.evaluate import Evaluation
from event_detection_pipeline.adapters.train import LossPoint

DET_TICKS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)


def training_curves(history: Sequence[LossPoint]) -> Figure:
    """Loss on training and validation clips, and average precision on the latter, over steps."""
    figure = Figure(figsize=(6, 3))
    loss_axis = figure.subplots()
    losses = {
        "training": [(point.step, point.loss) for point in history if point.loss is not None],
        "validation": [(point.step, point.validation_loss) for point in history if point.validation_loss is not None],
    }
    ranks = [(point.step, point.average_precision) for point in history if point.average_precision is not None]
    for (name, points), style in zip(losses.items(), ("-", "--"), strict=True):
        if points:
            loss_axis.plot(*zip(*points, strict=True), style, color="tab:blue", marker="o", markersize=3, label=name)
            loss_axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    loss_axis.set(xlabel="step", ylabel="loss", yscale="log")
    loss_axis.yaxis.label.set_color("tab:blue")
    rank_axis = loss_axis.twinx()
    if ranks:
        rank_axis.plot(*zip(*ranks, strict=True), color="tab:orange", marker="s", markersize=3)
    rank_axis.set(ylabel="validation average precision", ylim=(0, 1.05))
    rank_axis.yaxis.label.set_color("tab:orange")
    return figure


def precision_recall(evaluation: Evaluation) -> Figure:
    """Precision over recall on the test split, one line a detector."""
    figure = Figure(figsize=(5, 3.5))
    axis = figure.subplots()
    for contender in _rankable(evaluation):
        precision, recall, _ = precision_recall_curve(evaluation.truth, contender.scores)
        axis.plot(recall, precision, label=f"{contender.name} (AP {contender.metrics.average_precision})")
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05))
    axis.legend(loc="lower left")
    return figure


def detection_errors(evaluation: Evaluation) -> Figure:
    """The DET curve (Martin et al. 1997, Eurospeech): misses over false alarms of the test split, both as normal
    deviates; one line a detector, a dot at its threshold."""
    figure = Figure(figsize=(5, 3.5))
    axis = figure.subplots()
    for contender in _rankable(evaluation):
        alarms, misses, _ = det_curve(evaluation.truth, contender.scores)
        (line,) = axis.plot(_deviate(alarms), _deviate(misses), drawstyle="steps-post", label=contender.name)
        alarm, found = contender.metrics.false_alarm_rate.value or 0.0, contender.metrics.recall.value or 0.0
        axis.plot(_deviate([alarm]), _deviate([1 - found]), "o", color=line.get_color())
    labels = [f"{share:.1%}" if share < 0.01 else f"{share:.0%}" for share in DET_TICKS]
    axis.set_xticks(_deviate(DET_TICKS), labels)
    axis.set_yticks(_deviate(DET_TICKS), labels)
    axis.set(xlabel="false-alarm rate", ylabel="share of events missed")
    axis.legend(loc="upper right")
    return figure


def scores_side_by_side(
    names: tuple[str, str],
    thresholds: tuple[float, float],
    scores: tuple[Sequence[float], Sequence[float]],
    truth: Sequence[bool | None],
) -> Figure:
    """One adapter's scores over the other's, in log-odds, with both thresholds as lines: the adapters disagree in the
    upper left and the lower right. `truth` None: nobody said."""
    figure = Figure(figsize=(5, 5))
    axis = figure.subplots()
    points = np.array([_log_odds(one) for one in scores])
    for kind, label, color in (
        (True, "event", "tab:orange"),
        (False, "no event", "tab:blue"),
        (None, "unknown", "gray"),
    ):
        chosen = [index for index, one in enumerate(truth) if one is kind]
        if chosen:
            axis.scatter(*points[:, chosen], s=14, color=color, label=label)
    limits = _log_odds(thresholds)
    axis.axvline(limits[0], color="black", linewidth=0.8)
    axis.axhline(limits[1], color="black", linewidth=0.8)
    axis.set(xlabel=f"{names[0]} (log-odds)", ylabel=f"{names[1]} (log-odds)")
    if len(truth):
        axis.legend()
    return figure


def _log_odds(probabilities: Sequence[float]) -> np.ndarray:
    return logit(np.clip(probabilities, 1e-9, 1 - 1e-9))


def _deviate(shares: Sequence[float] | np.ndarray) -> np.ndarray:
    """Shares as standard normal deviates, those off the plot (0 and 1 are infinitely far) on its edge."""
    return norm.ppf(np.clip(shares, DET_TICKS[0], DET_TICKS[-1]))


def _rankable(evaluation: Evaluation) -> list[Contender]:
    return evaluation.contenders if len(set(evaluation.truth)) == 2 else []
