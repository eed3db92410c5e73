"""No file makes the settings fail in another way than with a line for a person."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_detection_pipeline.config import CONFIG_ENV, Settings, SettingsError, load_settings

GOOD = """\
base_model = "openai/whisper-tiny"
min_samples = 20
[[events]]
name = "sneeze"
[training]
epochs = 3
learning_rate = 1e-3
[review]
token = "a-token-of-some-length"
[automation]
timezone = "Europe/Berlin"
"""
VALUES = [
    "0",
    "-1",
    "nan",
    "inf",
    "1e999",
    '""',
    "[]",
    "{}",
    "true",
    "1979-05-27",
    '"\\u0000"',
    "[[1], [[]]]",
    "9" * 5000,
]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "event_detection.toml"
    monkeypatch.setenv(CONFIG_ENV, str(path))
    return path


def read(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        assert isinstance(load_settings(), Settings)
    except SettingsError as error:
        assert str(error).strip()
        assert "a-token-of-some-length" not in str(error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(GOOD)), length=st.integers(0, 30), new=st.binary(max_size=12))
def test_a_damaged_file_is_read_or_named(config: Path, place: int, length: int, new: bytes) -> None:
    good = GOOD.encode()
    read(config, good[:place] + new + good[place + length :])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.sampled_from(range(len(GOOD.splitlines()))), value=st.sampled_from(VALUES))
def test_a_value_of_any_form_is_taken_or_named(config: Path, line: int, value: str) -> None:
    before, after = GOOD.splitlines()[:line], GOOD.splitlines()[line + 1 :]
    changed = f"{GOOD.splitlines()[line].partition('=')[0]}= {value}"
    read(config, "\n".join([*before, changed, *after]).encode())


@pytest.mark.parametrize("content", [b"x = " + b"[" * 100_000, b"\xff\xfe", b"\0", b"a." * 5000 + b"b = 1"])
def test_what_no_person_writes_is_named(config: Path, content: bytes) -> None:
    config.write_bytes(content)
    with pytest.raises(SettingsError):
        load_settings()


def test_a_folder_in_place_of_the_file_is_named(config: Path) -> None:
    config.mkdir()
    with pytest.raises(SettingsError, match=r"event_detection\.toml"):
        load_settings()
