"""Which adapters a scan hears with: the promoted ones, and candidates only beside them and only if asked for."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from event_detection_pipeline.adapters.release import Detection
from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion, NoSuchAdapter
from event_detection_pipeline.config import EventSettings
from event_detection_pipeline.scan.lineup import line_up

EVENTS = [EventSettings(name=name) for name in ("chime", "sneeze", "knock")]


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    """chime_v2 is promoted and chime_v3 newer, sneeze_v1 promoted and the newest, knock_v1 not promoted."""
    for name in ("chime_v1", "chime_v2", "chime_v3", "sneeze_v1", "knock_v1"):
        (tmp_path / name).mkdir()
        detection = Detection(name.partition("_")[0], "<x>", "X_DETECTED", "tiny", 0.5, "by hand", "0", ())
        (tmp_path / name / "detection.json").write_text(json.dumps(asdict(detection)))
        (tmp_path / name / "adapter_model.safetensors").write_bytes(b"weights")
    store = AdapterStore(tmp_path)
    for event, number in (("chime", 2), ("sneeze", 1)):
        store.promote(AdapterVersion(event, number), by="a test", reason="to scan with")
    return store


def names(folders: tuple[Path, ...]) -> list[str]:
    return [folder.name for folder in folders]


def test_the_promoted_adapters_hear(store: AdapterStore) -> None:
    found = line_up(store, EVENTS, shadow=False)
    assert (names(found.folders), found.shadow) == (["chime_v2", "sneeze_v1"], frozenset())


def test_a_candidate_hears_along_where_it_is_newer_than_the_promoted(store: AdapterStore) -> None:
    found = line_up(store, EVENTS, shadow=True)
    assert names(found.folders) == ["chime_v2", "sneeze_v1", "chime_v3"]
    assert found.shadow == {"chime_v3"}


def test_without_any_promoted_adapter_there_is_nothing_to_scan_with(store: AdapterStore) -> None:
    with pytest.raises(NoSuchAdapter, match="knock"):
        line_up(store, EVENTS[2:], shadow=True)


def test_a_damaged_candidate_stops_no_scan(store: AdapterStore, caplog: pytest.LogCaptureFixture) -> None:
    (store.root / "chime_v3" / "detection.json").write_text("{")
    found = line_up(store, EVENTS, shadow=True)
    assert (names(found.folders), found.shadow) == (["chime_v2", "sneeze_v1"], frozenset())
    assert "candidate chime_v3" in caplog.text


def test_a_promotion_and_a_rollback_overtake_a_line_up(store: AdapterStore) -> None:
    before = line_up(store, EVENTS, shadow=False)
    assert not before.overtaken()
    store.promote(AdapterVersion("chime", 3), by="a test", reason="better")
    after = line_up(store, EVENTS, shadow=False)
    assert (before.overtaken(), after.overtaken()) == (True, False)
    store.rollback("chime", by="a test", reason="worse")
    assert (before.overtaken(), after.overtaken()) == (False, True)
