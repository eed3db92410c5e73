"""The Adapters tab's API over a real store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.config import AdapterSettings, EventSettings, Settings
from event_detection_pipeline.review.app import create_app
from event_detection_pipeline_tests.adapters.stored import add_adapter

Db = Database[dict[str, Any]]
API = "/api/user-loop/v2/adapters"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        events=(EventSettings(name="sneeze"), EventSettings(name="doorbell")),
        adapters=AdapterSettings(require_approval=True),
    )


@pytest.fixture
def store(settings: Settings) -> AdapterStore:
    return AdapterStore(settings.adapter_dir)


@pytest.fixture
def client(database: Db, settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(database, settings), base_url="http://127.0.0.1:8710") as client:
        yield client


def states(client: TestClient) -> dict[str, str]:
    return {adapter["name"]: adapter["state"] for adapter in client.get(API).json()["adapters"]}


def test_what_waits_is_shown_beside_what_is_promoted(client: TestClient, settings: Settings, store: AdapterStore):
    add_adapter(settings)
    store.promote(add_adapter(settings), by="test", reason="the first")
    add_adapter(settings)
    add_adapter(settings, passed=False)
    add_adapter(settings, passed=False)
    add_adapter(settings, "doorbell")
    assert states(client) == {
        "doorbell_v1": "waiting",
        "sneeze_v5": "refused",
        "sneeze_v3": "waiting",
        "sneeze_v2": "promoted",
    }
    waiting = next(adapter for adapter in client.get(API).json()["adapters"] if adapter["name"] == "sneeze_v3")
    assert waiting["average_precision"] == {"value": 0.9, "low": 0.8, "high": 0.95}
    assert (waiting["verdict"], waiting["approval"]) == ("not worse than the promoted one", None)


def test_an_approval_is_put_on_record_and_moves_nothing(client: TestClient, settings: Settings, store: AdapterStore):
    version = add_adapter(settings)
    given = client.post(f"{API}/{version}/approve", json={"reviewer": "Ada", "reason": " heard ten of its flags "})
    assert (given.status_code, given.json()["by"]) == (200, "Ada")
    approval = store.approval(version)
    assert approval and (approval.by, approval.reason) == ("Ada", "heard ten of its flags")
    assert store.promoted("sneeze") is None
    assert states(client) == {"sneeze_v1": "promote"}
    again = client.post(f"{API}/{version}/approve", json={"reason": "twice"})
    assert (again.status_code, store.approval(version)) == (409, approval)


def test_what_does_not_wait_cannot_be_approved(client: TestClient, settings: Settings, store: AdapterStore):
    refused = add_adapter(settings, passed=False)
    response = client.post(f"{API}/{refused}/approve", json={"reason": "please"})
    assert response.status_code == 409
    assert "average precision 0.10 is too low" in response.json()["detail"]
    for name in ("sneeze_v9", "..%2F..%2Fetc", "nonsense"):
        assert client.post(f"{API}/{name}/approve", json={"reason": "please"}).status_code == 404
    assert client.post(f"{API}/{refused}/approve", json={"reason": " "}).status_code == 422
    assert store.approval(AdapterVersion("sneeze", 1)) is None


def test_an_adapter_that_cannot_be_read_keeps_none_back(client: TestClient, settings: Settings, store: AdapterStore):
    (store.path(add_adapter(settings)) / "metrics.json").write_text("{")
    add_adapter(settings)
    shown = {adapter["name"]: adapter["recall"]["value"] for adapter in client.get(API).json()["adapters"]}
    assert shown == {"sneeze_v1": None, "sneeze_v2": 0.9}


def test_where_no_approval_is_asked_for_there_is_nothing_to_see(database: Db, settings: Settings):
    add_adapter(settings)
    open_settings = settings.model_copy(update={"adapters": AdapterSettings()})
    with TestClient(create_app(database, open_settings), base_url="http://127.0.0.1:8710") as client:
        assert client.get(API).json() == {"enabled": False, "adapters": []}
        assert client.post(f"{API}/sneeze_v1/approve", json={"reason": "good"}).status_code == 409
