"""No line of a manifest makes reading fail without its number."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_detection_pipeline.clips.manifest import BrokenManifest, Clip, ClipWord, clip_line, read_manifest

CLIP = Clip(
    audio="/a/c.wav",
    text="oh\x00\x1b[31m <sneeze> \u202e\u2028",
    timestamp="2025-03-01T12:00:00+00:00",
    type="positive",
    words=(ClipWord("oh", 0.0, 0.5),),
)
LINE = clip_line(CLIP).encode()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def read(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"\n".join(lines))
    try:
        assert all(isinstance(clip, Clip) for clip in read_manifest(path, source_tag="<sneeze>"))
    except BrokenManifest as error:
        assert str(error).startswith(str(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(LINE)), length=st.integers(0, 40), new=st.binary(max_size=20))
def test_a_damaged_line_is_read_or_named(tmp_path: Path, place: int, length: int, new: bytes):
    read(tmp_path / "m.jsonl", [LINE, LINE[:place] + new + LINE[place + length :], LINE])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from(list(json.loads(LINE))), json_values))
def test_a_field_of_any_form_is_read_or_named(tmp_path: Path, fields: dict[str, object]):
    read(tmp_path / "m.jsonl", [LINE, json.dumps(json.loads(LINE) | fields).encode()])


@pytest.mark.parametrize(
    "line",
    [b"[" * 100_000, b'{"a":' * 100_000, b'{"duration": ' + b"9" * 5000 + b"}", b"NaN", b'"\\ud800"', b"\x00"],
)
def test_what_no_program_writes_is_named_by_its_line(tmp_path: Path, line: bytes):
    (tmp_path / "m.jsonl").write_bytes(LINE + b"\n" + line + b"\n")
    with pytest.raises(BrokenManifest, match=r"m\.jsonl:2: "):
        read_manifest(tmp_path / "m.jsonl")


def test_control_characters_come_back_as_they_were(tmp_path: Path):
    (tmp_path / "m.jsonl").write_bytes(LINE + b"\n")
    assert [clip.text for clip in read_manifest(tmp_path / "m.jsonl")] == [CLIP.text]
