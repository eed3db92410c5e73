"""Flags on conversations that nobody has answered: every promoted adapter scores each in one pass over its audio.
Scores are kept in `event_scans`, flags shown in Chronicle; a person's answer is never overwritten."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from event_detection_pipeline.chronicle.database import CONVERSATIONS
from event_detection_pipeline.config import load_settings
from event_detection_pipeline.defs.cluster import model_step_tags
from event_detection_pipeline.defs.common import EXAMPLES, GPU_POOL, OWNERS, table
from event_detection_pipeline.defs.promoted_adapter import promoted_adapter
from event_detection_pipeline.defs.resources import (
    AdapterStoreResource,
    ComputeResource,
    MongoResource,
    SettingsResource,
)
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.scan.leases import LEASE_TIME

if TYPE_CHECKING:
    from event_detection_pipeline.scan.scan import ScanReport

# Read when the code location loads, as the events are: it decides what steps there are.
SHARDS = load_settings().scan.shards

_KINDS = {"python", "pytorch", "mongodb"}


def _scan(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    settings: SettingsResource,
    mongo: MongoResource,
    compute: ComputeResource,
    store: AdapterStoreResource,
) -> "ScanReport":
    from event_detection_pipeline.adapters.detector import load_detectors
    from event_detection_pipeline.review.answers import settle_unfinished
    from event_detection_pipeline.scan.lineup import line_up
    from event_detection_pipeline.scan.scan import scan

    values = settings.load()
    adapters = line_up(store.open(), values.events, shadow=values.scan.shadow)
    detectors = load_detectors(adapters.folders, compute.choose())
    limit = -(-values.scan.limit // SHARDS) if values.scan.limit else None
    with mongo.for_step(context) as database:
        report = scan(
            database,
            detectors,
            values.scan,
            values.clips,
            limit=limit,
            shadow=adapters.shadow,
            overtaken=adapters.overtaken,
        )
        if report.lost_answers:
            settle_unfinished(database, copy_audio=values.review.stash_copy_audio)
    return report


def _metadata(reports: Sequence["ScanReport"]) -> dict[str, Any]:
    problems: dict[str, int] = {}
    shadow: dict[str, int] = {}
    for report in reports:
        for total, part in ((problems, report.problems), (shadow, report.shadow_flagged)):
            for name, count in part.items():
                total[name] = total.get(name, 0) + count
    examples = [example for report in reports for example in report.examples]
    return {
        "scanned": sum(report.scanned for report in reports),
        "flagged": sum(report.flagged for report in reports),
        "answered meanwhile": sum(report.answered for report in reports),
        "gone meanwhile": sum(report.gone for report in reports),
        "flags and answers Chronicle had lost": sum(report.restored + report.lost_answers for report in reports),
        "audio (h)": round(sum(report.seconds for report in reports) / 3600, 2),
        "without a score": sum(problems.values()),
        "reasons": table([{"reason": name, "versions": count} for name, count in problems.items()]),
        "adapters": ", ".join(sorted({name for report in reports for name in report.adapters})),
        "candidates would flag": table([{"adapter": name, "versions": count} for name, count in shadow.items()]),
        "examples": table(
            [
                {
                    "conversation": one.conversation_id,
                    "event": one.event,
                    "score": round(one.score or 0.0, 3),
                    "threshold": round(one.threshold, 3),
                    "at (s)": "unknown" if one.time is None else one.time,
                }
                for one in examples[:EXAMPLES]
            ]
        ),
    }


def _in_one_step() -> dg.AssetsDefinition:
    @dg.asset(
        name="anomaly_flags",
        description=__doc__,
        group_name="detection",
        kinds=_KINDS,
        owners=OWNERS,
        deps=[promoted_adapter, CONVERSATIONS],
        pool=GPU_POOL,
        op_tags=model_step_tags(),
    )
    def anomaly_flags(
        context: dg.AssetExecutionContext,
        settings: SettingsResource,
        mongo: MongoResource,
        compute: ComputeResource,
        store: AdapterStoreResource,
    ) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata=_metadata([_scan(context, settings, mongo, compute, store)]))

    return anomaly_flags


@dg.op(ins={"promoted": dg.In(dg.Nothing), "conversations": dg.In(dg.Nothing)}, out=dg.DynamicOut(int))
def shards() -> Iterator[dg.DynamicOutput[int]]:
    """One output for each scan that shares the work."""
    for number in range(SHARDS):
        yield dg.DynamicOutput(number, mapping_key=str(number))


# Not in the pool of one: shards are for several devices, or for cores that one scan leaves idle. One that dies with its
# machine is tried again when its leases have expired: only then is there anything to take up.
@dg.op(tags=model_step_tags(), retry_policy=dg.RetryPolicy(max_retries=2, delay=LEASE_TIME.total_seconds()))
def scan_shard(
    context: dg.OpExecutionContext,
    shard: int,
    settings: SettingsResource,
    mongo: MongoResource,
    compute: ComputeResource,
    store: AdapterStoreResource,
) -> Any:
    """A scan beside the others; leases in MongoDB part the work, so that none waits for a slower one."""
    try:
        return _scan(context, settings, mongo, compute, store)
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.op(out=dg.Out(dg.Nothing))
def all_shards(reports: list[Any]) -> dg.Output[None]:
    return dg.Output(None, metadata=_metadata(reports))


def _in_shards() -> dg.AssetsDefinition:
    @dg.graph_asset(
        name="anomaly_flags",
        description=__doc__,
        group_name="detection",
        kinds=_KINDS,
        owners=OWNERS,
        ins={
            "promoted": dg.AssetIn(promoted_adapter.key, dagster_type=dg.Nothing),
            "conversations": dg.AssetIn(CONVERSATIONS, dagster_type=dg.Nothing),
        },
    )
    def anomaly_flags(promoted: Any, conversations: Any) -> Any:
        return all_shards(shards(promoted=promoted, conversations=conversations).map(scan_shard).collect())

    return anomaly_flags


anomaly_flags = _in_one_step() if SHARDS == 1 else _in_shards()
