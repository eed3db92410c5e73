"""A LoRA adapter trained on the manifest: a new, never changed folder `<event>_v<N>` with its threshold, figures and
model card. It detects nothing until it is promoted."""

import math

import dagster as dg

from event_detection_pipeline.clips.export import manifest_path
from event_detection_pipeline.defs.cluster import model_step_tags
from event_detection_pipeline.defs.common import GPU_POOL, OWNERS, image, side_by_side
from event_detection_pipeline.defs.events import EVENT_PARTITIONS, event_of
from event_detection_pipeline.defs.resources import AdapterStoreResource, ComputeResource, SettingsResource
from event_detection_pipeline.defs.training_manifest import training_manifest
from event_detection_pipeline.defs.versions import VERSION


@dg.asset(
    description=__doc__,
    group_name="adapters",
    kinds={"python", "pytorch", "huggingface"},
    owners=OWNERS,
    deps=[training_manifest],
    partitions_def=EVENT_PARTITIONS,
    pool=GPU_POOL,
    op_tags=model_step_tags(),
    check_specs=[
        dg.AssetCheckSpec(
            "adapter_loads", asset="candidate_adapter", blocking=True, description="PEFT loads it again."
        ),
        dg.AssetCheckSpec(
            "loss_is_finite", asset="candidate_adapter", blocking=True, description="It did not diverge."
        ),
    ],
)
def candidate_adapter(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    compute: ComputeResource,
    store: AdapterStoreResource,
) -> dg.MaterializeResult:
    from event_detection_pipeline.adapters.candidate import train_candidate
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.adapters.plots import training_curves
    from event_detection_pipeline.adapters.release import BrokenAdapter

    values = settings.load()
    event = event_of(context, values)
    device = compute.choose()
    adapters = store.open()
    with adapters.new_version(event.name) as (version, folder):
        candidate = train_candidate(manifest_path(values, event), folder, event, values, device)
    try:
        load_detectors([adapters.path(version)], device)
        loads = dg.AssetCheckResult(check_name="adapter_loads", passed=True)
    except BrokenAdapter as error:
        loads = dg.AssetCheckResult(check_name="adapter_loads", passed=False, description=str(error))
    figures = {"validation": candidate.validation, "test": candidate.test}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(str(version)),
        metadata={
            VERSION: str(version),
            "folder": dg.MetadataValue.path(adapters.path(version)),
            "threshold": round(candidate.detection.threshold, 4),
            "threshold rule": candidate.detection.threshold_rule,
            "figures": side_by_side(
                [
                    {
                        "split": split,
                        "clips": figure.clips,
                        "events": figure.events,
                        "average precision": figure.average_precision,
                        "recall": figure.recall,
                        "precision": figure.precision,
                        "false-alarm rate": figure.false_alarm_rate,
                    }
                    for split, figure in figures.items()
                ],
                "split",
            ),
            "curves": image(training_curves(candidate.history)),
            "training steps": candidate.steps,
            "training time (s)": round(candidate.seconds, 1),
            "device": device.name,
            "lines without usable audio": candidate.unusable,
        },
        check_results=[
            loads,
            dg.AssetCheckResult(
                check_name="loss_is_finite",
                passed=all(math.isfinite(point.loss) for point in candidate.history if point.loss is not None),
            ),
        ],
    )
