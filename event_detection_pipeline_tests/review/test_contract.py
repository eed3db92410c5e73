"""Chronicle's user-loop API as its own front end and its own tests use it, over a real database server."""

import base64
import io
import wave
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import CommandListener, CommandStartedEvent

from event_detection_pipeline.chronicle.database import connect
from event_detection_pipeline.config import Settings
from event_detection_pipeline.review.app import create_app
from event_detection_pipeline.review.flagged import iter_flagged
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.review.flags import add_flagged, review_of, version_of
from event_detection_pipeline_tests.sounds import encode, tone

Db = Database[dict[str, Any]]
API = "/api/user-loop"


@pytest.fixture
def client(database: Db) -> Iterator[TestClient]:
    with TestClient(create_app(database, Settings()), base_url="http://127.0.0.1:8710") as client:
        yield client


def swipe(conversation: str, **more: Any) -> dict[str, Any]:
    return {"transcript_version_id": f"{conversation}-v1", "conversation_id": conversation, **more}


def listed(client: TestClient, query: str = "") -> list[str]:
    return [event["conversation_id"] for event in client.get(f"{API}/events{query}").json()]


def samples_of(wav: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.getnframes() * 2 + 44 == len(wav)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def test_a_flagged_version_is_listed_as_chronicle_does(client: TestClient, database: Db):
    conversation = add_flagged(
        database,
        transcript="Test transcript",
        audio_total_duration=12.5,
        segments=[{"speaker": "a"}, {"speaker": "b"}, {"speaker": "a"}, {"speaker": 0}],
        words=[{"word": "Test"}, {"word": "transcript"}, {"word": "!"}],
    )
    database["conversations"].update_one(
        {}, {"$set": {"transcript_versions.0.created_at": datetime(2025, 3, 1, tzinfo=UTC)}}
    )
    assert client.get(f"{API}/events").json() == [
        {
            "version_id": f"{conversation}-v1",
            "conversation_id": conversation,
            "transcript": "Test transcript",
            "timestamp": 1740787200.0,
            "audio_duration": 12.5,
            "speaker_count": 3,
            "word_count": 3,
            "audio_data": None,
        }
    ]


def test_only_what_waits_for_an_answer_is_listed(client: TestClient, database: Db):
    waiting = add_flagged(database)
    for flag in (None, False, "verified", "rejected"):
        other = add_conversation(database)
        database["conversations"].update_one(
            {"conversation_id": other}, {"$set": {"transcript_versions.0.maybe_anomaly": flag}}
        )
    add_flagged(database, deleted=True)
    assert listed(client) == [waiting]


def test_an_empty_list_is_an_empty_list(client: TestClient):
    response = client.get(f"{API}/events")
    assert (response.status_code, response.json()) == (200, [])


def test_one_bad_document_never_breaks_the_list(client: TestClient, database: Db):
    odd: list[dict[str, Any]] = [
        {"transcript_versions": [{"version_id": "v", "maybe_anomaly": True}]},  # no conversation_id
        {"conversation_id": "a", "transcript_versions": [{"maybe_anomaly": True}, None, 3]},
        {"conversation_id": "b", "transcript_versions": {"maybe_anomaly": True}},
        {
            "conversation_id": "c",
            "created_at": "yesterday",
            "audio_total_duration": float("nan"),
            "transcript_versions": [
                {
                    "version_id": "c1",
                    "maybe_anomaly": True,
                    "transcript": {"text": "legacy"},
                    "segments": "none",
                    "words": None,
                    "metadata": None,
                    "created_at": 1740787200,
                }
            ],
        },
    ]
    database["conversations"].insert_many(odd)
    good = add_flagged(database)
    events = client.get(f"{API}/events").json()
    assert [event["conversation_id"] for event in events] == ["c", good]
    assert events[0]["transcript"] == "legacy"
    assert (events[0]["timestamp"], events[0]["audio_duration"], events[0]["word_count"]) == (1740787200.0, 0.0, 1)


def test_more_than_a_hundred_are_listed_and_can_be_paged(client: TestClient, database: Db):
    flagged = [add_flagged(database, chunks=[], event=None) for _ in range(120)]
    assert listed(client) == flagged
    assert listed(client, "?limit=50&offset=100") == flagged[100:]


def test_only_the_active_version_is_listed_unless_asked(client: TestClient, database: Db):
    conversation = add_flagged(database)
    database["conversations"].update_one({}, {"$set": {"active_transcript_version": "another"}})
    assert listed(client) == []
    assert listed(client, "?all_versions=true") == [conversation]
    database["conversations"].update_one({}, {"$unset": {"active_transcript_version": 1}})
    assert listed(client) == [conversation]


@pytest.mark.parametrize("named", [None, "", " ", ["another"], "another"])
def test_list_and_queue_agree_on_which_version_is_active(client: TestClient, database: Db, named: object):
    conversation = add_flagged(database)
    database["conversations"].update_one({}, {"$set": {"active_transcript_version": named}})
    expected = [] if named == "another" else [conversation]
    assert listed(client) == expected
    cards = client.post(f"{API}/v2/next", json={"client": "a-browser"}).json()["cards"]
    assert [card["conversation_id"] for card in cards] == expected


def test_accept_answers_as_chronicle_does(client: TestClient, database: Db):
    conversation = add_flagged(database)
    response = client.post(f"{API}/accept", json=swipe(conversation, reason=None, timestamp=1740787200.0))
    assert (response.status_code, response.json()) == (
        200,
        {"status": "success", "message": "Verified transcript", "version_id": f"{conversation}-v1"},
    )
    assert version_of(database, conversation)["maybe_anomaly"] == "verified"
    assert listed(client) == []


def test_reject_answers_as_chronicle_does(client: TestClient, database: Db):
    conversation = add_flagged(database)
    response = client.post(f"{API}/reject", json=swipe(conversation, reason="False positive"))
    [entry] = database["training_stash"].find()
    assert (response.status_code, response.json()) == (
        200,
        {
            "status": "success",
            "message": "Stashed transcript for training",
            "stash_id": str(entry["_id"]),
            "version_id": f"{conversation}-v1",
        },
    )
    assert entry["reason"] == "False positive"
    assert len(entry["audio_chunks"]) == 1
    assert version_of(database, conversation)["rejected_reason"] == "False positive"
    assert listed(client) == []


@pytest.mark.parametrize("call", ["accept", "reject"])
def test_what_is_missing_or_wrong_is_said(client: TestClient, database: Db, call: str):
    conversation = add_flagged(database)
    url = f"{API}/{call}"
    nobody = client.post(url, json=swipe("nobody"))
    assert (nobody.status_code, nobody.json()) == (404, {"detail": "Conversation Not Found"})
    version = client.post(url, json=swipe(conversation) | {"transcript_version_id": "v9"})
    assert (version.status_code, version.json()) == (404, {"detail": "Transcript version Not Found"})
    for wrong in (
        {"version_id": f"{conversation}-v1", "conversation_id": conversation},
        swipe(conversation) | {"conversation_id": {"$ne": ""}},
        swipe(conversation) | {"transcript_version_id": ["x"]},
        swipe(conversation, reason="x" * 5000),
        swipe(conversation, timestamp="soon"),
    ):
        assert client.post(url, json=wrong).status_code == 422
    assert version_of(database, conversation)["maybe_anomaly"] is True


def test_a_flag_that_chronicle_overwrote_is_set_again(client: TestClient, database: Db):
    conversation = add_flagged(database)
    client.post(f"{API}/accept", json=swipe(conversation))
    database["conversations"].update_one({}, {"$set": {"transcript_versions.0.maybe_anomaly": True}})
    assert listed(client) == []
    assert version_of(database, conversation)["maybe_anomaly"] == "verified"


def test_a_version_that_goes_away_while_it_is_listed_is_left_out(client: TestClient, database: Db, mongodb_uri: str):
    lost, waiting = add_flagged(database), add_flagged(database)
    client.post(f"{API}/accept", json=swipe(lost))
    of_lost = {"conversation_id": lost}
    database["conversations"].update_one(of_lost, {"$set": {"transcript_versions.0.maybe_anomaly": True}})
    removed = RemovedMeanwhile(lambda: database["conversations"].delete_one(of_lost))
    with MongoClient[dict[str, Any]](mongodb_uri, event_listeners=[removed], tz_aware=True) as reading:
        assert [one.conversation_id for one in iter_flagged(reading[database.name])] == [waiting]


class RemovedMeanwhile(CommandListener):
    """Chronicle removes something between the list of what is flagged and the look at the answers."""

    def __init__(self, remove: Callable[[], object]) -> None:
        self._remove = remove

    def started(self, event: CommandStartedEvent) -> None:
        if event.command.get("find") == "event_reviews":
            self._remove()

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


def test_an_answer_says_who_gave_it(client: TestClient, database: Db):
    conversation = add_flagged(database)
    client.post(f"{API}/accept", json=swipe(conversation))
    assert review_of(database, conversation)["reviewer"] == "chronicle"


def test_audio_of_many_chunks_is_one_correct_wav(client: TestClient, database: Db):
    sound = tone(6.5, 300)
    chunks = [
        {"chunk_index": 0, "audio_data": encode(sound[:48_000])},
        {"chunk_index": 1, "audio_data": base64.b64encode(encode(sound[48_000:80_000])).decode()},
        {"chunk_index": 2, "audio_data": encode(sound[80_000:], codec="pcm_s16le", container="wav")},
    ]
    conversation = add_flagged(database, chunks=chunks)
    response = client.get(f"{API}/audio/{conversation}-v1")
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["content-disposition"] == f"attachment; filename=audio_{conversation}-v1.wav"
    heard = samples_of(response.content)
    assert len(heard) == len(sound)
    assert np.corrcoef(heard, sound)[0, 1] > 0.95


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, None),
        ("bytes=0-9", 0, 10),
        ("bytes=40-50", 40, 51),
        ("bytes=64043-64046", 64_043, 64_047),
        ("bytes=100001-", 100_001, None),
        ("bytes=-5", -5, None),
        ("bytes=10-99999999", 10, None),
    ],
)
def test_any_range_of_the_audio_is_the_same_bytes(
    client: TestClient, database: Db, asked: str, start: int, end: int | None
):
    chunks = [{"chunk_index": i, "audio_data": encode(tone(2, 300 + i))} for i in range(3)]
    conversation = add_flagged(database, chunks=chunks)
    url = f"{API}/audio/{conversation}-v1"
    whole = client.get(url).content
    part = client.get(url, headers={"Range": asked})
    assert part.status_code == 206
    assert part.content == whole[start:end]
    first = start % len(whole)
    assert part.headers["content-range"] == f"bytes {first}-{first + len(part.content) - 1}/{len(whole)}"


def test_a_range_beyond_the_audio_is_refused_and_a_strange_one_ignored(client: TestClient, database: Db):
    url = f"{API}/audio/{add_flagged(database)}-v1"
    beyond = client.get(url, headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */160044")
    for ignored in ("bytes=5-1", "bytes=a-b", "bytes=0-1,5-6", "lines=1-2", "bytes=-"):
        assert client.get(url, headers={"Range": ignored}).status_code == 200
    stale = client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert stale.status_code == 200


@pytest.mark.parametrize("flag", [True, "verified", "rejected", False, None])
def test_audio_of_what_was_flagged_is_found_by_the_flags_index(database: Db, mongodb_uri: str, flag: object):
    conversation = add_flagged(database)
    database["conversations"].update_one({}, {"$set": {"transcript_versions.0.maybe_anomaly": flag}})
    filters = Filters("conversations")
    with MongoClient[dict[str, Any]](mongodb_uri, event_listeners=[filters], tz_aware=True) as watched:
        client = TestClient(create_app(watched[database.name], Settings()), base_url="http://127.0.0.1:8710")
        assert client.get(f"{API}/audio/{conversation}-v1").status_code == 200
    without_index = [one for one in filters.sent if "transcript_versions.maybe_anomaly" not in one]
    assert bool(without_index) == (flag in (False, None))


class Filters(CommandListener):
    """What a client looks for in a collection."""

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self.sent: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command.get("find") == self._collection:
            self.sent.append(event.command["filter"])

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


def test_audio_that_is_not_there_is_not_found(client: TestClient, database: Db):
    for version in ("undefined", f"{add_flagged(database, chunks=[])}-v1", f"{add_flagged(database, deleted=True)}-v1"):
        response = client.get(f"{API}/audio/{version}")
        assert response.status_code == 404
        assert "not found" in response.json()["detail"].lower()


@pytest.mark.parametrize(
    "data", [b"mock audio data", "mock audio", b"", None, pytest.param(encode(tone(1))[:60], id="cut short")]
)
def test_audio_that_cannot_be_decoded_is_an_error_and_never_empty(client: TestClient, database: Db, data: object):
    conversation = add_flagged(database, chunks=[{"chunk_index": 0, "audio_data": data}])
    response = client.get(f"{API}/audio/{conversation}-v1")
    assert response.status_code == 422
    assert "cannot be decoded" in response.json()["detail"]


def test_a_damaged_chunk_is_silence_of_its_length(client: TestClient, database: Db):
    chunks = [
        {"chunk_index": 0, "audio_data": encode(tone(2)), "duration": 2.0},
        {"chunk_index": 1, "audio_data": b"broken", "duration": 3.0},
        {"chunk_index": 2, "audio_data": encode(tone(2)), "duration": 2.0},
    ]
    heard = samples_of(client.get(f"{API}/audio/{add_flagged(database, chunks=chunks)}-v1").content)
    assert len(heard) == 7 * 16_000
    assert not heard[2 * 16_000 : 5 * 16_000].any()
    assert np.abs(heard[5 * 16_000 :]).max() > 0.2


def test_a_version_id_never_reaches_a_header_unquoted(client: TestClient, database: Db):
    add_flagged(database, conversation_id='x"; y=\u00e9')
    response = client.get(f"{API}/audio/" + "x%22; y=%C3%A9-v1")
    assert response.headers["content-disposition"] == "attachment; filename=audio_x___y__-v1.wav"


def test_a_database_that_is_gone_is_said_and_not_a_crash(mongodb_uri: str):
    # A client that was closed refuses at once, as a server that has gone away does after its time.
    closed = connect(mongodb_uri, "gone")
    closed.client.close()
    client = TestClient(create_app(closed, Settings()), base_url="http://127.0.0.1:8710")
    response = client.get(f"{API}/events")
    assert (response.status_code, "does not answer" in response.json()["detail"]) == (503, True)
