"""A store that machines share at a URL: each has its own folder, and all see the same adapters."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
import time_machine

from event_detection_pipeline.adapters.catalogue import catalogue
from event_detection_pipeline.adapters.promotion import decide
from event_detection_pipeline.adapters.remote import RemoteAdapterStore
from event_detection_pipeline.adapters.seal import BrokenAdapter
from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion, NoSuchAdapter, open_store
from event_detection_pipeline.config import AdapterSettings, EventSettings, Settings
from event_detection_pipeline.errors import PipelineError


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return f"memory://{tmp_path.name}/adapters"
    return (tmp_path / "shared").as_uri()


class Machines:
    """Stores of machines that share a URL."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url

    def __getitem__(self, name: str) -> RemoteAdapterStore:
        return RemoteAdapterStore(self._folder / name, self._url)


@pytest.fixture
def machines(tmp_path: Path, url: str) -> Machines:
    return Machines(tmp_path, url)


class Counting(RemoteAdapterStore):
    """Counts the objects that it reads."""

    reads = 0

    def _read(self, path: str) -> bytes:
        self.reads += 1
        return super()._read(path)


def add(store: AdapterStore) -> AdapterVersion:
    with store.new_version("sneeze") as (version, folder):
        (folder / "adapter_model.safetensors").write_text(str(version))
        (folder / "more").mkdir()
        (folder / "more" / "notes.txt").write_text("below")
    return version


def test_what_one_machine_trains_and_promotes_another_uses(machines: Machines) -> None:
    trainer, scanner = machines["trainer"], machines["scanner"]
    assert scanner.promoted("sneeze") is None
    version = add(trainer)
    assert scanner.versions("sneeze") == [version]
    trainer.promote(version, by="ada", reason="the first")
    assert scanner.promoted("sneeze") == version
    folder = scanner.path(version)
    assert folder.is_relative_to(scanner.root)
    assert (folder / "adapter_model.safetensors").read_text() == "sneeze_v1"
    assert (folder / "more" / "notes.txt").read_text() == "below"
    assert [(one.promoted, one.by) for one in scanner.promotions("sneeze")] == [("sneeze_v1", "ada")]


def test_numbers_are_given_out_once_also_for_failed_trainings(machines: Machines) -> None:
    first, second = machines["first"], machines["second"]
    with pytest.raises(RuntimeError), first.new_version("sneeze"):
        raise RuntimeError
    assert str(add(second)) == "sneeze_v2"
    assert str(add(first)) == "sneeze_v3"


def test_a_rollback_on_one_machine_counts_on_all(machines: Machines) -> None:
    trainer, scanner = machines["trainer"], machines["scanner"]
    for _ in range(2):
        trainer.promote(add(trainer), by="ada", reason="next")
    scanner.rollback("sneeze", by="ben", reason="alarms")
    assert str(trainer.promoted("sneeze")) == "sneeze_v1"
    assert [one.promoted for one in trainer.promotions("sneeze")] == ["sneeze_v1", "sneeze_v2", "sneeze_v1"]
    assert json.loads((scanner.root / "sneeze_latest.json").read_text())["promoted"] == "sneeze_v1"


def test_the_history_is_in_order_also_where_a_clock_was_set_back(machines: Machines) -> None:
    trainer, scanner = machines["trainer"], machines["scanner"]
    versions = [add(trainer) for _ in range(3)]
    for version, year in zip(versions, (2026, 2020, 2020), strict=True):
        with time_machine.travel(datetime(year, 1, 1, tzinfo=UTC), tick=False):
            trainer.promote(version, by="ada", reason="next")
    assert [one.promoted for one in scanner.promotions("sneeze")] == ["sneeze_v1", "sneeze_v2", "sneeze_v3"]
    assert str(scanner.rollback("sneeze", by="ben", reason="alarms").promoted) == "sneeze_v2"


def test_an_approval_on_one_machine_counts_on_all(machines: Machines) -> None:
    version = add(machines["trainer"])
    machines["phone"].approve(version, by="ada", reason="good")
    approval = machines["trainer"].approval(version)
    assert approval and approval.by == "ada"


def test_half_an_upload_is_no_adapter(machines: Machines, url: str) -> None:
    files, base = fsspec.url_to_fs(url)
    files.makedirs(f"{base}/sneeze_v1", exist_ok=True)
    files.pipe_file(f"{base}/sneeze_v1/adapter_model.safetensors", b"half")
    scanner = machines["scanner"]
    assert scanner.versions("sneeze") == []
    with pytest.raises(NoSuchAdapter):
        scanner.path(AdapterVersion("sneeze", 1))


def test_what_was_changed_there_is_not_taken_in(machines: Machines, url: str) -> None:
    version = add(machines["trainer"])
    files, base = fsspec.url_to_fs(url)
    files.pipe_file(f"{base}/sneeze_v1/adapter_model.safetensors", b"other")
    scanner = machines["scanner"]
    with pytest.raises(BrokenAdapter, match=r"adapter_model\.safetensors was changed"):
        scanner.path(version)
    assert not (scanner.root / "sneeze_v1").exists()


def test_what_was_trained_without_a_connection_is_published_when_promoted(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = machines["trainer"]

    def lost(*_args: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(trainer, "_publish", lost)
        add(trainer)
    assert machines["scanner"].versions("sneeze") == []
    trainer.promote(AdapterVersion("sneeze", 1), by="ada", reason="it was kept")
    scanner = machines["scanner"]
    assert scanner.path(AdapterVersion("sneeze", 1)).is_dir()


def test_a_removed_adapter_is_gone_everywhere_and_its_number_stays_taken(machines: Machines) -> None:
    trainer, scanner = machines["trainer"], machines["scanner"]
    old, current = add(trainer), add(trainer)
    trainer.promote(current, by="ada", reason="the first")
    with pytest.raises(PipelineError, match="never deleted"):
        scanner.remove(current)
    scanner.remove(old)
    assert machines["third"].versions("sneeze") == [current]
    assert trainer.versions("sneeze") == [current], "though it still has its copy"
    assert str(add(scanner)) == "sneeze_v3"


def test_a_removal_that_is_cut_short_leaves_no_half_adapter(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = machines["trainer"]
    version = add(trainer)
    remove = trainer._files.rm

    def lost(path: str, **options: Any) -> None:
        if path.endswith(str(version)):
            raise ConnectionError
        remove(path, **options)

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(trainer._files, "rm", lost)
        trainer.remove(version)
    assert machines["scanner"].versions("sneeze") == []


def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    assert type(open_store(Settings(data_dir=tmp_path))) is AdapterStore
    shared = Settings(data_dir=tmp_path, adapters=AdapterSettings(url="memory://somewhere"))
    assert isinstance(open_store(shared), RemoteAdapterStore)
    unknown = Settings(data_dir=tmp_path, adapters=AdapterSettings(url="nosuch://bucket"))
    with pytest.raises(PipelineError, match=r"adapters\.url = 'nosuch://bucket' cannot be opened"):
        open_store(unknown)


def test_a_decision_reads_each_record_once(tmp_path: Path, url: str) -> None:
    settings = Settings(data_dir=tmp_path, adapters=AdapterSettings(url=url, require_approval=True))
    store = Counting(settings.adapter_dir, url)
    versions = [add(store) for _ in range(5)]
    for version in versions:
        store.approve(version, by="ada", reason="good")
        store.promote(version, by="ada", reason="next")
    store.reads = 0
    decide(store, settings, "sneeze")
    assert store.reads <= 2 * len(versions) + 2, "approvals and moves once, and the pointer"


def test_a_list_fetches_no_adapter(tmp_path: Path, machines: Machines, url: str) -> None:
    version = add(machines["trainer"])
    settings = Settings(data_dir=tmp_path / "lister", adapters=AdapterSettings(url=url))
    named = [EventSettings(name="sneeze")]
    assert [one.name for one in catalogue(settings, named)] == [str(version)]
    assert not list(settings.adapter_dir.glob("sneeze_v*"))
