"""Checks of the manifest before anything is trained on it. Those that would train wrong data block the run."""

from collections.abc import Iterator

import dagster as dg

from event_detection_pipeline.clips.checks import (
    CheckResult,
    check_audio,
    check_balance,
    check_enough,
    check_label_lengths,
    check_leakage,
    check_schema,
)
from event_detection_pipeline.clips.export import manifest_path
from event_detection_pipeline.clips.manifest import read_manifest
from event_detection_pipeline.defs.events import EVENT_PARTITIONS, event_of
from event_detection_pipeline.defs.resources import SettingsResource
from event_detection_pipeline.defs.training_manifest import training_manifest

_DESCRIPTIONS = {
    "schema": "Every line is a clip of this event, and its tag is in the text if the event is.",
    "no_leakage": "No conversation and no recording is in two splits.",
    "audio_present": "Every clip's audio is there, unchanged and as long as the manifest says.",
    "label_length": "No text is longer than Whisper's decoder can write (448 tokens).",
    "enough_examples": "Each split has clips with and without the event.",
}


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            name, asset=training_manifest, description=text, blocking=True, partitions_def=EVENT_PARTITIONS
        )
        for name, text in _DESCRIPTIONS.items()
    ]
    + [
        dg.AssetCheckSpec(
            "class_balance",
            asset=training_manifest,
            description="Neither class outnumbers the other more than ten times.",
            partitions_def=EVENT_PARTITIONS,
        )
    ],
)
def manifest_checks(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource
) -> Iterator[dg.AssetCheckResult]:
    values = settings.load()
    event = event_of(context, values)
    path = manifest_path(values, event)
    yield _result("schema", check_schema(path, event))
    clips = read_manifest(path)
    yield _result("no_leakage", check_leakage(clips))
    yield _result("audio_present", check_audio(clips))
    yield _result("label_length", check_label_lengths(clips))
    yield _result("enough_examples", check_enough(clips, values.clips))
    yield _result("class_balance", check_balance(clips))


def _result(name: str, found: CheckResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=found.passed,
        severity=dg.AssetCheckSeverity.ERROR if found.blocking else dg.AssetCheckSeverity.WARN,
        description="; ".join((found.message, *found.examples)),
        metadata=dict(found.numbers),
    )
