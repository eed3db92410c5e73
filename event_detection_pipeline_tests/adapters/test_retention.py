"""Adapters are deleted only where nothing needs them."""

from pathlib import Path
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.adapters.retention import prune
from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline_tests.adapters.stored import add_adapter

Db = Database[dict[str, Any]]


def stored(store: AdapterStore) -> list[int]:
    return [version.number for version in store.versions("sneeze")]


def test_what_something_refers_to_is_kept_and_the_rest_is_deleted(database: Db, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, events=(EventSettings(name="sneeze"),))
    store = AdapterStore(settings.adapter_dir)
    versions = [add_adapter(settings) for _ in range(9)]
    for number in (1, 3, 5):
        store.promote(versions[number - 1], by="test", reason="next")
    database["event_scans"].insert_one({"adapter": "sneeze_v2", "flagged": True})
    database["event_scans"].insert_one({"adapter": "sneeze_v4", "flagged": False})
    database["event_reviews"].insert_one({"adapter": "sneeze_v6", "answer": "rejected"})
    (store.root / ".sneeze_v99.removed").mkdir()  # a deletion that was cut short
    kept = prune(store, database, ["sneeze"], 2, dry_run=True)
    assert {one.version.number: one.why for one in kept} == {
        1: None,
        2: "people see or have answered its flags",
        3: "a rollback goes back to it",
        4: None,
        5: "promoted",
        6: "people see or have answered its flags",
        7: None,
        8: "one of the 2 newest",
        9: "one of the 2 newest",
    }
    assert stored(store) == list(range(1, 10))
    prune(store, database, ["sneeze"], 2)
    assert stored(store) == [2, 3, 5, 6, 8, 9]
    assert not list(store.root.glob(".*removed"))
    assert store.rollback("sneeze", by="test", reason="worse").promoted == "sneeze_v3"
    assert str(add_adapter(settings)) == "sneeze_v10"


def test_pruning_an_empty_store_does_nothing(database: Db, tmp_path: Path) -> None:
    assert prune(AdapterStore(tmp_path / "none"), database, ["sneeze"], 1) == []
