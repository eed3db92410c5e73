"""The candidate on the test split, beside the promoted adapter, a linear probe and the bare base model, and the gate's
verdict: only a candidate that is not worse than the promoted adapter passes. In a run that trained a candidate it is
that one, else the newest."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from event_detection_pipeline.clips.export import manifest_path
from event_detection_pipeline.defs.candidate_adapter import candidate_adapter
from event_detection_pipeline.defs.cluster import model_step_tags
from event_detection_pipeline.defs.common import GPU_POOL, OWNERS, image, side_by_side, table
from event_detection_pipeline.defs.events import EVENT_PARTITIONS, event_of
from event_detection_pipeline.defs.resources import AdapterStoreResource, ComputeResource, SettingsResource
from event_detection_pipeline.defs.versions import version_of_run

if TYPE_CHECKING:
    from event_detection_pipeline.adapters.evaluate import Evaluation


@dg.asset(
    description=__doc__,
    group_name="adapters",
    kinds={"python", "pytorch"},
    owners=OWNERS,
    deps=[candidate_adapter],
    partitions_def=EVENT_PARTITIONS,
    pool=GPU_POOL,
    op_tags=model_step_tags(),
    check_specs=[
        dg.AssetCheckSpec(
            "not_worse_than_promoted",
            asset="adapter_evaluation",
            blocking=True,
            description="The gate: better than the bare model, not worse than the probe and the promoted adapter.",
        )
    ],
)
def adapter_evaluation(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    compute: ComputeResource,
    store: AdapterStoreResource,
) -> dg.MaterializeResult:
    from event_detection_pipeline.adapters.evaluate import evaluate_candidate, save_evaluation
    from event_detection_pipeline.adapters.plots import detection_errors, precision_recall
    from event_detection_pipeline.adapters.verdict import evaluation_path

    values = settings.load()
    event = event_of(context, values)
    adapters = store.open()
    version = version_of_run(context, adapters, event.name)
    promoted = adapters.promoted(event.name)
    if promoted == version:
        promoted = None
    evaluation = evaluate_candidate(
        manifest_path(values, event),
        adapters.path(version),
        adapters.path(promoted) if promoted else None,
        event,
        values.evaluation,
        compute.choose(),
    )
    path = evaluation_path(values.evaluation_dir, version)
    save_evaluation(path, evaluation)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(str(version)),
        metadata={
            "adapter": str(version),
            "verdict": f"{'passed' if evaluation.verdict.passed else 'kept back'}: {evaluation.verdict.reason}",
            "test clips": len(evaluation.clips),
            "test events": sum(evaluation.truth),
            "contenders": side_by_side(_figures(evaluation), "detector"),
            "average precision less the promoted one's": _difference(evaluation),
            "flagged by kind": table(_by_kind(evaluation)),
            "word error rate": _text(evaluation),
            "time of the event": _timing(evaluation),
            "precision and recall": image(precision_recall(evaluation)),
            "detection errors": image(detection_errors(evaluation)),
            "evaluation": dg.MetadataValue.path(path),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="not_worse_than_promoted",
                passed=evaluation.verdict.passed,
                description=evaluation.verdict.reason,
            )
        ],
    )


def _figures(evaluation: "Evaluation") -> list[dict[str, Any]]:
    return [
        {
            "detector": one.name,
            "average precision": one.metrics.average_precision,
            "recall": one.metrics.recall,
            "precision": one.metrics.precision,
            "F1": one.metrics.f1,
            "false-alarm rate": one.metrics.false_alarm_rate,
            "false alarms an hour": one.metrics.false_alarms_per_hour,
            "recall at 0.5 false alarms an hour": one.metrics.quiet.recall,
        }
        for one in evaluation.contenders
    ]


def _by_kind(evaluation: "Evaluation") -> list[dict[str, Any]]:
    return [
        {
            "clips with": kind.kind,
            "clips": kind.clips,
            **{one.name: f"{one.by_kind[row].flagged} flagged" for one in evaluation.contenders},
        }
        for row, kind in enumerate(evaluation.candidate.by_kind)
    ]


def _difference(evaluation: "Evaluation") -> str:
    difference = evaluation.difference
    return "no adapter was promoted" if difference is None else str(difference)


def _text(evaluation: "Evaluation") -> str:
    text = evaluation.text
    if text is None:
        return "not measured: no test clip with words, or evaluation.transcribed_clips is 0"
    promoted = "" if text.promoted is None else f"promoted {text.promoted}, "
    return f"{text.adapter}, {promoted}base model {text.base_model}, on {text.clips} clips, markers left out"


def _timing(evaluation: "Evaluation") -> str:
    timing = evaluation.candidate.timing
    if timing is None:
        return "not measurable: no flagged test clip whose event has a known time"
    return (
        f"median error {timing.median_error:.2f} s on {timing.clips} flagged clips; "
        f"share within {timing.collar_seconds:g} s: {timing.within_collar}"
    )
