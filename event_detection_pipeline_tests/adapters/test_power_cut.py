"""A process that is killed between any two file operations leaves a store that loads.

A forked process dies before the first change of the file system, the second, ... until it gets through.
"""

import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.adapters.seal import SUMS_FILE, BrokenAdapter, seal, verify
from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline_tests.sudden_death import KILLED, Fate


def publish(store: AdapterStore) -> None:
    with store.new_version("sneeze") as (_, folder):
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        (folder / "detection.json").write_text("{}")


def promote(store: AdapterStore) -> None:
    store.promote(store.newest("sneeze"), by="test", reason="better")


def roll_back(store: AdapterStore) -> None:
    if str(store.promoted("sneeze")) == "sneeze_v2":
        store.rollback("sneeze", by="test", reason="worse")


def remove(store: AdapterStore) -> None:
    if AdapterVersion("sneeze", 1) in store.versions("sneeze"):
        store.remove(AdapterVersion("sneeze", 1))


def approve(store: AdapterStore) -> None:
    store.approve(store.newest("sneeze"), by="ada", reason="heard it")


def nothing_yet(store: AdapterStore) -> None:
    """An empty store."""


def two_versions(store: AdapterStore) -> None:
    for _ in range(2):
        publish(store)
        promote(store)


def one_promoted_one_not(store: AdapterStore) -> None:
    publish(store)
    promote(store)
    publish(store)


Step = Callable[[AdapterStore], None]


def die_before_each_change(root: Path, before: Step, step: Step) -> list[dict[str, Any]]:
    """The store's state after each death, and at last after a life in full. Runs in a process of its own."""
    states = []
    while True:
        store = AdapterStore(root / str(len(states)))
        before(store)
        child = os.fork()
        if child == 0:
            _die_before(len(states), store, step)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED
        states.append(state_of(store))
        step_again(store, step)
        if not killed:
            return states


def _die_before(number: int, store: AdapterStore, step: Step) -> None:
    Fate(dies_before=number)
    step(store)
    os._exit(0)


def state_of(store: AdapterStore) -> dict[str, Any]:
    """What there is; raises where it cannot be read."""
    versions = [str(version) for version in store.versions("sneeze")]
    for name in versions:
        assert (store.root / name / SUMS_FILE).is_file()
        verify(store.root / name)
    promoted = store.promoted("sneeze")
    if promoted:
        store.path(promoted)
        described = store.root / "sneeze_latest.json"
        store.path(AdapterVersion.parse(json.loads(described.read_text())["promoted"]))
    history = [(one.previous, one.promoted) for one in store.promotions("sneeze")]
    assert (history[-1][1] if history else None) == (str(promoted) if promoted else None)
    return {"versions": versions, "promoted": promoted and str(promoted), "history": history}


def step_again(store: AdapterStore, step: Step) -> None:
    """After a crash everything goes on: the same step gets through, and nothing is left lying about."""
    step(store)
    store.clean_up()
    state_of(store)
    assert not [path for path in store.root.glob(".sneeze*") if path.suffix != ".draft"]


@pytest.mark.parametrize(
    ("before", "step", "deaths"),
    [
        (nothing_yet, publish, 5),
        (two_versions, publish, 5),
        (one_promoted_one_not, promote, 4),
        (two_versions, roll_back, 4),
        (two_versions, remove, 4),
        (one_promoted_one_not, approve, 2),
    ],
)
def test_a_death_before_any_change_leaves_a_store_that_loads(
    tmp_path: Path, before: Step, step: Step, deaths: int
) -> None:
    # Forked in a process without threads: the tests' own has a database server's.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        states = pool.submit(die_before_each_change, tmp_path, before, step).result()
    assert len(states) > deaths, "the hook has missed operations"
    assert states[0] != states[-1] or step is approve
    for state in states:
        assert state in (states[0], states[-1]), "neither as before nor as after"


@given(st.data())
def test_a_history_cut_anywhere_is_read_and_written_on(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    store = AdapterStore(tmp_path_factory.mktemp("store"))
    two_versions(store)
    store.approve(AdapterVersion("sneeze", 2), by="ada", reason="ßpecial")
    for name in ("sneeze_promotions.jsonl", "sneeze_approvals.jsonl"):
        content = (store.root / name).read_bytes()
        (store.root / name).write_bytes(content[: data.draw(st.integers(0, len(content)))])
    store.promotions("sneeze")
    publish(store)
    promote(store)
    assert store.promotions("sneeze")[-1].promoted == "sneeze_v3"
    approve(store)
    approval = store.approval(AdapterVersion("sneeze", 3))
    assert approval and approval.by == "ada"


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    publish(store)
    weights = tmp_path / "sneeze_v1" / "adapter_model.safetensors"
    weights.write_bytes(b"Weights")
    with pytest.raises(BrokenAdapter, match=r"adapter_model\.safetensors was changed"):
        verify(weights.parent)
    (weights.parent / "detection.json").unlink()
    weights.write_bytes(b"weights")
    with pytest.raises(BrokenAdapter, match=r"detection\.json is missing"):
        verify(weights.parent)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    seal(tmp_path)
    with pytest.raises(BrokenAdapter, match="is a pickle and is not read"):
        verify(tmp_path)


def test_an_adapter_made_before_there_were_seals_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    verify(tmp_path)
    assert "used unchecked" in caplog.text


def test_the_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"abc")
    seal(tmp_path)
    # FIPS 180-2, appendix B.1.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (tmp_path / "SHA256SUMS").read_text() == f"{digest}  adapter_model.safetensors\n"
