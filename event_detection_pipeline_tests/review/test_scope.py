"""A server for one user: another user's conversations are neither shown, heard nor answered."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pymongo.database import Database

from event_detection_pipeline.config import EventSettings, ReviewSettings, Settings
from event_detection_pipeline.review.app import create_app
from event_detection_pipeline_tests.review.flags import add_flagged, version_of

Db = Database[dict[str, Any]]
API = "/api/user-loop"
SINCE = {"since": "2025-01-01T00:00:00Z"}


def client_of(database: Db, user_id: str | None) -> TestClient:
    settings = Settings(events=(EventSettings(name="sneeze"),), review=ReviewSettings(user_id=user_id))
    return TestClient(create_app(database, settings), base_url="http://127.0.0.1:8710")


@pytest.fixture
def adas(database: Db) -> Iterator[TestClient]:
    with client_of(database, "ada") as client:
        yield client


@pytest.fixture
def conversations(database: Db) -> dict[str, str]:
    """A flagged conversation of each user, and one of nobody."""
    fields: dict[str, dict[str, Any]] = {"ada": {"user_id": "ada"}, "ben": {"user_id": "ben"}, "nobody": {}}
    return {name: add_flagged(database, event="sneeze", **more) for name, more in fields.items()}


def test_only_the_users_own_are_listed(adas: TestClient, conversations: dict[str, str]):
    own = conversations["ada"]
    assert [event["conversation_id"] for event in adas.get(f"{API}/events").json()] == [own]
    cards = adas.post(f"{API}/v2/next", json={"client": "ada-browser-1", "count": 10}).json()["cards"]
    assert [card["conversation_id"] for card in cards] == [own]
    assert adas.get(f"{API}/v2/queue").json()["total"] == 1


def test_another_users_are_not_heard(adas: TestClient, conversations: dict[str, str]):
    for path in ("audio/{}-v1", "v2/audio/{}"):
        assert adas.get(f"{API}/{path.format(conversations['ada'])}").status_code == 200
        for other in ("ben", "nobody"):
            assert adas.get(f"{API}/{path.format(conversations[other])}").status_code == 404


@pytest.mark.parametrize("other", ["ben", "nobody"])
def test_another_users_are_not_answered(adas: TestClient, database: Db, conversations: dict[str, str], other: str):
    id_ = conversations[other]
    swipe = {"transcript_version_id": f"{id_}-v1", "conversation_id": id_}
    card = {"conversation_id": id_, "version_id": f"{id_}-v1", "event": "sneeze"}
    assert adas.post(f"{API}/accept", json=swipe).json() == {"detail": "Conversation Not Found"}
    assert adas.post(f"{API}/reject", json=swipe).status_code == 404
    assert adas.post(f"{API}/v2/answers", json=card | {"answer": "accepted"}).status_code == 404
    assert version_of(database, id_)["maybe_anomaly"] is True
    with client_of(database, None) as everybodys:
        revision = everybodys.post(f"{API}/v2/answers", json=card | {"answer": "accepted"}).json()["revision"]
    undo = card | {"client": "ada-browser-1", "revision": revision}
    assert adas.post(f"{API}/v2/undo", json=undo).status_code == 404
    assert version_of(database, id_)["maybe_anomaly"] == "verified"


def test_figures_count_the_users_own(adas: TestClient, database: Db, conversations: dict[str, str]):
    with client_of(database, None) as everybodys:
        for id_ in conversations.values():
            swipe = {"transcript_version_id": f"{id_}-v1", "conversation_id": id_}
            assert everybodys.post(f"{API}/accept", json=swipe).status_code == 200
        assert everybodys.get(f"{API}/v2/stats", params=SINCE).json()["accepted"] == 3
    assert adas.get(f"{API}/v2/stats", params=SINCE).json()["accepted"] == 1


def test_a_flag_that_chronicle_lost_is_set_again_for_the_user_only(
    adas: TestClient, database: Db, conversations: dict[str, str]
):
    database["conversations"].update_many({}, {"$set": {"transcript_versions.0.maybe_anomaly": None}})
    assert adas.get(f"{API}/v2/queue").json()["total"] == 1
    assert version_of(database, conversations["ben"])["maybe_anomaly"] is None
