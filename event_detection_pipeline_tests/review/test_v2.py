"""The page's API over a real database server."""

import io
import wave
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pymongo.database import Database

from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.review.app import create_app
from event_detection_pipeline_tests.review.flags import add_flagged, add_scan, review_of, version_of
from event_detection_pipeline_tests.sounds import encode, tone

Db = Database[dict[str, Any]]
API = "/api/user-loop/v2"
ADA, BEN = "ada-browser-1", "ben-browser-1"
MIDNIGHT = {"since": "2025-01-01T00:00:00Z"}


@pytest.fixture
def client(database: Db) -> Iterator[TestClient]:
    settings = Settings(events=(EventSettings(name="sneeze"), EventSettings(name="doorbell")))
    with TestClient(create_app(database, settings), base_url="http://127.0.0.1:8710") as client:
        yield client


def take(client: TestClient, who: str = ADA, count: int = 3, **more: Any) -> list[dict[str, Any]]:
    response = client.post(f"{API}/next", json={"client": who, "count": count, **more})
    assert response.status_code == 200
    return response.json()["cards"]


def of(card: dict[str, Any]) -> dict[str, Any]:
    return {name: card[name] for name in ("conversation_id", "version_id", "event")}


def test_a_card_has_all_that_is_shown(client: TestClient, database: Db):
    words = [{"word": "bless", "start": 0.5, "end": 0.9}]
    conversation = add_flagged(database, event="sneeze", score=0.75, time=1.2, words=words, title="Tea")
    assert take(client) == [
        {
            "conversation_id": conversation,
            "version_id": f"{conversation}-v1",
            "event": "sneeze",
            "adapter": "event_v1",
            "score": 0.75,
            "threshold": 0.5,
            "time": 1.2,
            "recorded_at": "2025-03-01T12:00:00Z",
            "tag": "<sneeze>",
            "title": "Tea",
            "transcript": "hello there",
            "words": [{"text": "bless", "start": 0.5, "end": 0.9}],
            "duration": 5.0,
        }
    ]


def test_each_event_of_a_version_is_answered_by_itself(client: TestClient, database: Db):
    conversation = add_flagged(database, event="sneeze")
    add_scan(database, conversation, event="doorbell")
    cards = {card["event"]: card for card in take(client)}
    said = {"answer": "accepted", "reviewer": "Ada", "time": 2.5}
    saved = client.post(f"{API}/answers", json=of(cards["sneeze"]) | said)
    assert (saved.status_code, saved.json()) == (200, {"revision": 1})
    assert [card["event"] for card in take(client)] == ["doorbell"]
    review = review_of(database, conversation, "sneeze")
    assert (review["reviewer"], review["time"]) == ("Ada", 2.5)
    assert database["event_reviews"].count_documents({}) == 1


def test_an_answer_sent_again_changes_nothing(client: TestClient, database: Db):
    conversation = add_flagged(database, event="sneeze")
    body = of(take(client)[0]) | {"answer": "rejected", "transcript": "hello <sneeze>"}
    assert client.post(f"{API}/answers", json=body).json() == client.post(f"{API}/answers", json=body).json()
    assert [entry["transcript"] for entry in database["training_stash"].find()] == ["hello <sneeze>"]
    assert review_of(database, conversation, "sneeze")["history"] == []


def test_the_card_in_front_of_a_person_comes_first_after_a_restart_of_the_server(client: TestClient, database: Db):
    conversations = [add_flagged(database, event="sneeze", score=0.6 + i / 10) for i in range(3)]
    current = {"conversation_id": conversations[2], "version_id": f"{conversations[2]}-v1", "event": "sneeze"}
    taken = take(client, count=2, current=current)
    assert [card["conversation_id"] for card in taken] == [conversations[2], conversations[0]]
    assert [card["conversation_id"] for card in take(client, BEN, current=current)] == [conversations[1]]


def test_undo_brings_the_card_back_to_who_took_it_back(client: TestClient, database: Db):
    conversation = add_flagged(database, event="sneeze")
    card = take(client)[0]
    revision = client.post(f"{API}/answers", json=of(card) | {"answer": "rejected"}).json()["revision"]
    assert take(client) == []
    undone = client.post(f"{API}/undo", json=of(card) | {"client": ADA, "revision": revision})
    assert (undone.status_code, undone.json()["cards"]) == (200, [card])
    assert take(client, BEN) == []
    assert version_of(database, conversation)["maybe_anomaly"] is True
    assert database["training_stash"].count_documents({}) == 0


def test_undo_does_not_undo_somebody_elses_answer(client: TestClient, database: Db):
    add_flagged(database, event="sneeze")
    card = take(client)[0]
    client.post(f"{API}/answers", json=of(card) | {"answer": "rejected"})
    client.post(f"{API}/answers", json=of(card) | {"answer": "accepted", "reviewer": "Ben"})
    assert client.post(f"{API}/undo", json=of(card) | {"client": ADA, "revision": 1}).status_code == 409


def test_what_is_gone_is_never_shown(client: TestClient, database: Db):
    gone, stays = (add_flagged(database, event="sneeze") for _ in range(2))
    client.get(f"{API}/stats", params=MIDNIGHT)  # the queue has been read
    database["conversations"].delete_one({"conversation_id": gone})
    assert [card["conversation_id"] for card in take(client)] == [stays]
    card = {"conversation_id": gone, "version_id": f"{gone}-v1", "event": "sneeze", "answer": "accepted"}
    assert client.post(f"{API}/answers", json=card).status_code == 404


def test_an_answer_of_chronicles_front_end_takes_the_card_away(client: TestClient, database: Db):
    conversation = add_flagged(database, event="sneeze")
    assert len(take(client)) == 1
    swipe = {"transcript_version_id": f"{conversation}-v1", "conversation_id": conversation}
    client.post("/api/user-loop/reject", json=swipe)
    assert take(client) == []


def test_an_unknown_event_is_not_answered(client: TestClient, database: Db):
    add_flagged(database, event="sneeze")
    wrong = of(take(client)[0]) | {"event": "burp", "answer": "accepted"}
    assert client.post(f"{API}/answers", json=wrong).status_code == 404
    assert database["event_reviews"].count_documents({}) == 0


def test_the_queue_is_paged_and_a_cursor_survives_answers(client: TestClient, database: Db):
    scores = [0.55, 0.6, 0.7, 0.8, 0.9]
    conversations = [add_flagged(database, event="sneeze", score=score) for score in scores]
    page = client.get(f"{API}/queue", params={"limit": 2}).json()
    assert ([card["conversation_id"] for card in page["cards"]], page["total"]) == (conversations[:2], 5)
    client.post(f"{API}/answers", json=of(page["cards"][0]) | {"answer": "accepted"})
    page = client.get(f"{API}/queue", params={"limit": 10, "cursor": page["next_cursor"]}).json()
    assert [card["conversation_id"] for card in page["cards"]] == conversations[2:]
    assert page["next_cursor"] is None
    assert client.get(f"{API}/queue", params={"cursor": "nonsense"}).status_code == 422


def test_figures_count_what_waits_and_what_was_answered(client: TestClient, database: Db):
    for answer in ("accepted", "rejected", "rejected", None, None):
        conversation = add_flagged(database, event="sneeze")
        card = {"conversation_id": conversation, "version_id": f"{conversation}-v1", "event": "sneeze"}
        if answer:
            client.post(f"{API}/answers", json=card | {"answer": answer})
    skipped = take(client, count=1)[0]
    assert client.post(f"{API}/skip", json=of(skipped) | {"client": ADA}).status_code == 204
    stats = client.get(f"{API}/stats", params=MIDNIGHT | {"client": ADA}).json()
    assert stats == {"waiting": 2, "by_event": {"sneeze": 2}, "skipped": 1, "accepted": 1, "rejected": 2}
    assert client.post(f"{API}/unskip", json={"client": ADA}).status_code == 204
    assert len(take(client)) == 2
    tomorrow = client.get(f"{API}/stats", params={"since": "2999-01-01T00:00:00Z"}).json()
    assert (tomorrow["accepted"], tomorrow["rejected"]) == (0, 0)


def test_a_stretch_of_the_audio_is_a_wav_of_its_length(client: TestClient, database: Db):
    chunks = [{"chunk_index": i, "audio_data": encode(tone(2))} for i in range(3)]
    conversation = add_flagged(database, event="sneeze", chunks=chunks)
    url = f"{API}/audio/{conversation}"
    with wave.open(io.BytesIO(client.get(url, params={"start": 1.5, "end": 4.25}).content)) as file:
        assert file.getnframes() == 2.75 * 16_000
    whole, part = client.get(url).content, client.get(url, params={"start": 1.0, "end": 3.0}).content
    assert part[44:] == whole[44 + 32_000 : 44 + 96_000]
    assert client.get(url, params={"start": 60}).status_code == 404
    assert client.get(url, params={"start": "nan"}).status_code == 422
