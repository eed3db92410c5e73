"""The newest candidate on the test split, beside the promoted adapter and the bare base model, and the gate's verdict:
only a candidate that is not worse than the promoted adapter passes."""

import dagster as dg

from event_detection_pipeline.clips.export import manifest_path
from event_detection_pipeline.defs.candidate_adapter import candidate_adapter
from event_detection_pipeline.defs.common import GPU_POOL, OWNERS, image, table
from event_detection_pipeline.defs.events import EVENT_PARTITIONS, event_of
from event_detection_pipeline.defs.resources import AdapterStoreResource, ComputeResource, SettingsResource


@dg.asset(
    description=__doc__,
    group_name="adapters",
    kinds={"python", "pytorch"},
    owners=OWNERS,
    deps=[candidate_adapter],
    partitions_def=EVENT_PARTITIONS,
    pool=GPU_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            "not_worse_than_promoted",
            asset="adapter_evaluation",
            blocking=True,
            description="The gate: better than the bare model, not worse than the promoted adapter.",
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
    from event_detection_pipeline.adapters.plots import precision_recall
    from event_detection_pipeline.adapters.verdict import evaluation_path

    values = settings.load()
    event = event_of(context, values)
    adapters = store.open()
    version = adapters.newest(event.name)
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
    contenders = [one for one in (evaluation.candidate, evaluation.promoted, evaluation.base) if one]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(str(version)),
        metadata={
            "verdict": f"{'passed' if evaluation.verdict.passed else 'kept back'}: {evaluation.verdict.reason}",
            "contenders": table(
                [
                    {
                        "detector": one.name,
                        "average precision": one.metrics.average_precision,
                        "recall": one.metrics.recall,
                        "precision": one.metrics.precision,
                        "false-alarm rate": one.metrics.false_alarm_rate,
                    }
                    for one in contenders
                ]
            ),
            "false alarms an hour": str(evaluation.candidate.metrics.false_alarms_per_hour),
            "test clips": len(evaluation.clips),
            "test events": sum(evaluation.truth),
            "precision and recall": image(precision_recall(evaluation)),
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
