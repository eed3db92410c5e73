"""Versions are never used twice, the pointer always points at something whole."""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion, NoSuchAdapter
from event_detection_pipeline.errors import PipelineError


def add(store: AdapterStore, event: str = "sneeze") -> AdapterVersion:
    with store.new_version(event) as (version, folder):
        (folder / "README.md").write_text(str(version))
    return version


def _add_some(root: Path) -> list[str]:
    return [str(add(AdapterStore(root))) for _ in range(5)]


def test_versions_count_from_one(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    assert [str(add(store)), str(add(store)), str(add(store, "doorbell"))] == ["sneeze_v1", "sneeze_v2", "doorbell_v1"]
    assert [str(version) for version in store.versions("sneeze")] == ["sneeze_v1", "sneeze_v2"]


def test_trainings_at_the_same_time_get_different_versions(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        names = [name for some in pool.map(_add_some, [tmp_path] * 4) for name in some]
    assert len(set(names)) == 20
    assert len(AdapterStore(tmp_path).versions("sneeze")) == 20


def test_a_failed_training_leaves_no_adapter_and_its_number_is_not_used_again(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    with pytest.raises(RuntimeError), store.new_version("sneeze") as (_, folder):
        (folder / "half").write_text("half an adapter")
        raise RuntimeError
    assert store.versions("sneeze") == []
    assert str(add(store)) == "sneeze_v2"
    assert not list(tmp_path.glob(".*.draft"))


def test_a_deleted_version_is_not_given_out_again(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    store.remove(add(store))
    assert store.versions("sneeze") == []
    assert str(add(store)) == "sneeze_v2"


def test_event_names_that_begin_alike_are_kept_apart(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    add(store, "door")
    add(store, "door_v2-knock")
    assert [str(version) for version in store.versions("door")] == ["door_v1"]


def test_promotion_moves_the_pointer_and_is_remembered(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    first, second = add(store), add(store)
    assert store.promoted("sneeze") is None
    store.promote(first, by="test", reason="the first")
    store.promote(second, by="test", reason="better")
    assert store.promoted("sneeze") == second
    assert (tmp_path / "sneeze_latest" / "README.md").read_text() == "sneeze_v2"
    history = [(one.previous, one.promoted, one.reason) for one in store.promotions("sneeze")]
    assert history == [(None, "sneeze_v1", "the first"), ("sneeze_v1", "sneeze_v2", "better")]


def test_rolling_back_twice_goes_back_two_steps(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    versions = [add(store) for _ in range(3)]
    for version in versions:
        store.promote(version, by="test", reason="next")
    store.rollback("sneeze", by="test", reason="false alarms")
    assert store.promoted("sneeze") == versions[1]
    store.rollback("sneeze", by="test", reason="still")
    assert store.promoted("sneeze") == versions[0]
    with pytest.raises(NoSuchAdapter, match="no earlier promoted adapter"):
        store.rollback("sneeze", by="test", reason="more")


def _promote_each(root: Path, mine: int) -> None:
    store = AdapterStore(root)
    for _ in range(5):
        store.promote(AdapterVersion("sneeze", mine), by=str(mine), reason="mine")


def test_promotions_at_the_same_time_end_in_agreement(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    for _ in range(3):
        add(store)
    with ProcessPoolExecutor(3) as pool:
        list(pool.map(_promote_each, [tmp_path] * 3, (1, 2, 3)))
    promoted, history = str(store.promoted("sneeze")), store.promotions("sneeze")
    assert history[-1].promoted == promoted
    assert json.loads((tmp_path / "sneeze_latest.json").read_text())["promoted"] == promoted
    lines = (tmp_path / "sneeze_promotions.jsonl").read_text().splitlines()
    assert len(history) == len(lines) >= 3, "a move is missing from the chain"


def test_the_promoted_adapter_is_never_removed(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    version = add(store)
    store.promote(version, by="test", reason="the first")
    with pytest.raises(PipelineError, match="never deleted"):
        store.remove(version)
    assert store.path(version)


def test_a_copy_without_links_knows_what_is_promoted(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    version = add(store)
    store.promote(version, by="test", reason="the first")
    (tmp_path / "sneeze_latest").unlink()
    assert store.promoted("sneeze") == version
    assert [one.promoted for one in store.promotions("sneeze")] == ["sneeze_v1"]


def test_an_approval_is_kept_and_moves_nothing(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    first, second = add(store), add(store)
    store.approve(first, by="ada", reason="heard ten flags of it")
    approval = store.approval(first)
    assert approval and (approval.by, approval.reason) == ("ada", "heard ten flags of it")
    assert store.approval(second) is None
    assert store.promoted("sneeze") is None


def test_of_two_approvals_the_last_counts(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    version = add(store)
    for name in ("ada", "ben"):
        store.approve(version, by=name, reason="good")
    approval = store.approval(version)
    assert approval and approval.by == "ben"


def test_old_drafts_are_cleaned_up_and_young_ones_are_not(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    old, young = tmp_path / ".sneeze_v1.draft", tmp_path / ".sneeze_v2.draft"
    for draft in (old, young):
        draft.mkdir()
    os.utime(old, (0, 0))
    assert store.clean_up() == 1
    assert (old.exists(), young.exists()) == (False, True)


def test_what_is_not_there_cannot_be_promoted(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    add(store)
    with pytest.raises(NoSuchAdapter, match="there are sneeze_v1"):
        store.promote(AdapterVersion("sneeze", 9), by="test", reason="typo")
    with pytest.raises(NoSuchAdapter, match="names look like"):
        AdapterVersion.parse("../../etc")
