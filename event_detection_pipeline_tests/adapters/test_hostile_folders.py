"""An adapter's folder from elsewhere is loaded as it should be or refused with its name; nothing in it is ever run."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_detection_pipeline.adapters.detector import load_detectors
from event_detection_pipeline.adapters.release import read_detection
from event_detection_pipeline.adapters.seal import SUMS_FILE, BrokenAdapter, seal, verify
from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion, NoSuchAdapter
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline_tests.random_adapter import CPU, random_adapter

FILES = ["detection.json", "adapter_config.json", "adapter_model.safetensors", "generation_config.json", SUMS_FILE]


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = random_adapter(tmp_path_factory.mktemp("good") / "chime_v1", tiny_model, first_layer=1)
    seal(folder)
    return folder


@pytest.fixture
def copy(adapter: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter, tmp_path / "chime_v1"))


@settings(max_examples=40)
@given(name=st.sampled_from(FILES[:4]), place=st.floats(0, 1), new=st.binary(min_size=1, max_size=20))
def test_a_changed_byte_of_a_sealed_file_is_found(
    adapter: Path, tmp_path_factory: pytest.TempPathFactory, name: str, place: float, new: bytes
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path_factory.mktemp("copy") / "chime_v1"))
    before = (folder / name).read_bytes()
    at = int(place * len(before))
    after = before[:at] + new + before[at + len(new) :]
    (folder / name).write_bytes(after)
    if after != before:
        with pytest.raises(BrokenAdapter, match=str(folder)):
            read_detection(folder)
    shutil.rmtree(folder)


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(FILES[:2]), place=st.floats(0, 1), new=st.binary(max_size=20), length=st.integers(0, 40))
def test_an_unsealed_folder_with_damaged_descriptions_loads_or_is_refused(
    adapter: Path, tmp_path_factory: pytest.TempPathFactory, name: str, place: float, new: bytes, length: int
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path_factory.mktemp("copy") / "chime_v1"))
    (folder / SUMS_FILE).unlink()
    before = (folder / name).read_bytes()
    at = int(place * len(before))
    (folder / name).write_bytes(before[:at] + new + before[at + length :])
    try:
        load_detectors([folder], CPU)
    except PipelineError as error:
        assert str(error)
    shutil.rmtree(folder)


@pytest.mark.parametrize("length", [0, 4, 100, 2000])
def test_unsealed_weights_that_are_cut_short_are_refused(copy: Path, length: int) -> None:
    (copy / SUMS_FILE).unlink()
    weights = copy / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    with pytest.raises(BrokenAdapter, match="does not load"):
        load_detectors([copy], CPU)


def test_a_pickle_is_not_run(copy: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "attacked",)

    (copy / "adapter_model.safetensors").unlink()
    (copy / "adapter_model.bin").write_bytes(pickle.dumps(Attack()))
    (copy / SUMS_FILE).unlink()
    with pytest.raises(BrokenAdapter, match="is a pickle and is not read"):
        load_detectors([copy], CPU)
    assert not (tmp_path / "attacked").exists()


def test_weights_of_another_base_model_are_refused(copy: Path, base_model: Path) -> None:
    detection = json.loads((copy / "detection.json").read_text())
    (copy / "detection.json").write_text(json.dumps(detection | {"base_model": str(base_model)}))
    seal(copy)
    with pytest.raises(BrokenAdapter, match="does not load on base model"):
        load_detectors([copy], CPU)


@pytest.mark.parametrize(
    "change",
    [{"threshold": "loud"}, {"prompt": [1.5]}, {"event": None}, {"base_model": ["a"]}, {"target_token": 7}],
)
def test_a_wrong_field_of_detection_is_named(copy: Path, change: dict[str, object]) -> None:
    detection = json.loads((copy / "detection.json").read_text())
    (copy / "detection.json").write_text(json.dumps(detection | change))
    seal(copy)
    with pytest.raises(BrokenAdapter, match=rf"detection\.json: {next(iter(change))}"):
        read_detection(copy)


def test_sums_that_name_files_elsewhere_are_refused(copy: Path) -> None:
    with (copy / SUMS_FILE).open("a") as sums:
        sums.write(f"{'0' * 64}  ../../../../etc/passwd\n")
    with pytest.raises(BrokenAdapter, match="passwd"):
        verify(copy)


@given(st.text() | st.from_regex(r"\A[a-z./\\]*_v[0-9]+\n?\Z"))
def test_no_name_of_an_adapter_is_a_path(name: str) -> None:
    try:
        version = AdapterVersion.parse(name)
    except NoSuchAdapter:
        return
    assert str(version) == name
    assert Path(name).name == name


@pytest.mark.parametrize("target", ["../../etc", "/etc/passwd", "chime_v2/..", "chime_v0"])
def test_a_pointer_out_of_the_store_is_refused(copy: Path, target: str) -> None:
    (copy.parent / "chime_latest").symlink_to(target)
    with pytest.raises(PipelineError):
        AdapterStore(copy.parent).promoted("chime")


def test_brackets_in_thousands_of_brackets_are_refused(copy: Path) -> None:
    (copy / "detection.json").write_text("[" * 100_000)
    with pytest.raises(BrokenAdapter, match=r"detection\.json"):
        read_detection(copy)


def test_a_seal_that_leaves_the_weights_out_is_no_seal(copy: Path) -> None:
    (copy / SUMS_FILE).write_text("")
    with pytest.raises(BrokenAdapter):
        verify(copy)
