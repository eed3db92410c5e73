"""A LoRA adapter trained on the manifest: a new, never changed folder `<event>_v<N>` with its threshold, figures and
model card. It detects nothing until it is promoted."""

import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from event_detection_pipeline.clips.export import manifest_path
from event_detection_pipeline.config import Settings
from event_detection_pipeline.defs import training_process
from event_detection_pipeline.defs.cluster import training_step_tags
from event_detection_pipeline.defs.common import GPU_POOL, OWNERS, image, side_by_side
from event_detection_pipeline.defs.events import EVENT_PARTITIONS, event_of
from event_detection_pipeline.defs.resources import AdapterStoreResource, ComputeResource, SettingsResource
from event_detection_pipeline.defs.training_manifest import training_manifest
from event_detection_pipeline.defs.versions import VERSION

if TYPE_CHECKING:
    from event_detection_pipeline.adapters.candidate import Candidate
    from event_detection_pipeline.adapters.device import Compute


@dg.asset(
    description=__doc__,
    group_name="adapters",
    kinds={"python", "pytorch", "huggingface"},
    owners=OWNERS,
    deps=[training_manifest],
    partitions_def=EVENT_PARTITIONS,
    pool=GPU_POOL,
    op_tags=training_step_tags(),
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
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.plots import training_curves

    values = settings.load()
    event = event_of(context, values)
    manifest = manifest_path(values, event)
    several = values.cluster.training_processes > 1
    device = choose_compute("cpu") if several else compute.choose()  # the cards are for the training's processes
    adapters = store.open()
    with adapters.new_version(event.name) as (version, folder):
        if several:
            candidate = _train_in_processes(context, manifest, folder, event.name, values, compute)
        else:
            candidate = train_candidate(manifest, folder, event, values, device)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(str(version)),
        metadata={
            VERSION: str(version),
            "folder": dg.MetadataValue.path(adapters.path(version)),
            "threshold": round(candidate.detection.threshold, 4),
            "threshold rule": candidate.detection.threshold_rule,
            "figures": side_by_side(_figures(candidate), "split"),
            "curves": image(training_curves(candidate.history)),
            "training steps": candidate.steps,
            "training time (s)": round(candidate.seconds, 1),
            "device": candidate.device,
            "lines without usable audio": candidate.unusable,
        },
        check_results=[_loads(adapters.path(version), device), _loss_is_finite(candidate)],
    )


def _figures(candidate: "Candidate") -> list[dict[str, Any]]:
    return [
        {
            "split": split,
            "clips": figure.clips,
            "events": figure.events,
            "average precision": figure.average_precision,
            "recall": figure.recall,
            "precision": figure.precision,
            "false-alarm rate": figure.false_alarm_rate,
        }
        for split, figure in (("validation", candidate.validation), ("test", candidate.test))
    ]


def _loads(folder: Path, device: "Compute") -> dg.AssetCheckResult:
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.adapters.release import BrokenAdapter

    try:
        load_detectors([folder], device)
    except BrokenAdapter as error:
        return dg.AssetCheckResult(check_name="adapter_loads", passed=False, description=str(error))
    return dg.AssetCheckResult(check_name="adapter_loads", passed=True)


def _loss_is_finite(candidate: "Candidate") -> dg.AssetCheckResult:
    losses = [loss for point in candidate.history for loss in (point.loss, point.validation_loss) if loss is not None]
    return dg.AssetCheckResult(check_name="loss_is_finite", passed=all(map(math.isfinite, losses)))


def _train_in_processes(
    context: dg.AssetExecutionContext,
    manifest: Path,
    folder: Path,
    event: str,
    settings: Settings,
    compute: ComputeResource,
) -> "Candidate":
    """Train in processes of their own through Dagster Pipes: what they log is in this step's log."""
    from event_detection_pipeline.adapters.candidate import read_candidate

    # Should this process be killed, the kernel ends torchrun, which ends the others: a retry finds nobody training on.
    bound = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    torchrun = [*bound, sys.executable, "-m", "torch.distributed.run", "--standalone"]
    processes = ["--nproc-per-node", str(settings.cluster.training_processes), "-m", training_process.__name__]
    # What a run's configuration changed; the rest they read as this process did.
    changed = {
        "EVENT_DETECTION_TRAINING__EPOCHS": str(settings.training.epochs),
        "EVENT_DETECTION_DEVICE": compute.device or settings.device,
    }
    dg.PipesSubprocessClient().run(
        context=context, command=[*torchrun, *processes, str(manifest), str(folder), event], env=changed
    )
    return read_candidate(folder)
