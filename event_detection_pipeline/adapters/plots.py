"""Plots of training and evaluation, drawn without a display."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from event_detection_pipeline.adapters.evaluate import Evaluation
from event_detection_pipeline.adapters.train import LossPoint


def training_curves(history: Sequence[LossPoint]) -> Figure:
    """Training loss and validation average precision over steps."""
    figure = Figure(figsize=(6, 3))
    loss_axis = figure.subplots()
    losses = [(point.step, point.loss) for point in history if point.loss is not None]
    ranks = [(point.step, point.average_precision) for point in history if point.average_precision is not None]
    if losses:
        loss_axis.plot(*zip(*losses, strict=True), color="tab:blue", marker="o", markersize=3)
    loss_axis.set(xlabel="step", ylabel="training loss")
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
    for contender in (evaluation.candidate, evaluation.promoted, evaluation.base):
        if contender and any(evaluation.truth):
            precision, recall, _ = precision_recall_curve(evaluation.truth, contender.scores)
            axis.plot(recall, precision, label=f"{contender.name} (AP {contender.metrics.average_precision})")
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05))
    axis.legend(loc="lower left")
    return figure
