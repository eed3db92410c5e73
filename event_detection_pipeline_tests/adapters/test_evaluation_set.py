"""What the clips of an evaluation are told apart by."""

from pathlib import Path

import pytest

from event_detection_pipeline.adapters.evaluation_set import read_golden_set
from event_detection_pipeline.clips.manifest import Clip, write_manifest
from event_detection_pipeline.config import EventSettings
from event_detection_pipeline_tests.adapters.conftest import make_clip

CHIME = EventSettings(name="chime")


@pytest.mark.parametrize(
    ("source", "flagged", "recording", "kind"),
    [
        ("training_stash", True, None, "other sounds"),
        ("training_stash", False, None, "plain speech"),
        ("training_stash", None, None, "other sounds"),  # a line of an older export
        ("verified_flags", False, None, "plain speech"),
        ("background", False, None, "plain speech"),
        ("background", None, None, "plain speech"),
        ("mix", None, "0a1b", "other sounds"),
    ],
)
def test_only_what_was_flagged_or_recorded_is_another_sound(
    tmp_path: Path, source: str, flagged: bool | None, recording: str | None, kind: str
) -> None:
    audio = str(make_clip(tmp_path / "0.wav", 0, with_event=False).audio)
    said = {"source": source, "flagged": flagged, "recording": recording}
    line = Clip(audio, "good morning", "2026-11-01T12:00:00+00:00", "positive", **said)  # type: ignore[arg-type]
    write_manifest(tmp_path / "m.jsonl", [line])
    assert read_golden_set(tmp_path / "m.jsonl", CHIME).kinds == (kind,)


def test_another_events_golden_clips_are_left_out(tmp_path: Path) -> None:
    lines = []
    for number, event in enumerate(("chime", "doorbell", "")):  # an older export did not name it
        audio = str(make_clip(tmp_path / f"{number}.wav", number, with_event=False).audio)
        lines.append(Clip(audio, "good morning", "2026-11-01T12:00:00+00:00", "positive", event=event))
    write_manifest(tmp_path / "m.jsonl", lines)
    golden = read_golden_set(tmp_path / "m.jsonl", CHIME)
    assert [Path(clip.audio).stem for clip in golden.clips] == ["0", "2"]
