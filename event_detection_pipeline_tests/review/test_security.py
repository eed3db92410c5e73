"""Who gets in, and what a browser is told."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pymongo.database import Database
from starlette.datastructures import Headers

from event_detection_pipeline.config import ReviewSettings, Settings
from event_detection_pipeline.review.app import create_app
from event_detection_pipeline.review.security import FAILED_LOGIN_SECONDS, Gate, is_loopback
from event_detection_pipeline_tests.review.flags import add_flagged, version_of

Db = Database[dict[str, Any]]
API = "/api/user-loop"
TOKEN = "a-token-of-some-length"
LOCAL = "http://127.0.0.1:8710"


@pytest.fixture
def local(database: Db) -> Iterator[TestClient]:
    with TestClient(create_app(database, Settings()), base_url=LOCAL) as client:
        yield client


@pytest.fixture
def remote(database: Db) -> Iterator[TestClient]:
    with TestClient(create_app(database, Settings(), token=TOKEN), base_url="http://10.0.0.5:8710") as client:
        yield client


def test_without_the_token_nothing_is_told(remote: TestClient, database: Db):
    conversation = add_flagged(database)
    for call in ("/events", f"/audio/{conversation}-v1", "/v2/queue", "/openapi.json", "/v2/stats"):
        response = remote.get(API + call)
        assert response.status_code == 401
        assert conversation not in response.text
    assert remote.post(f"{API}/accept", json={}).status_code == 401
    assert remote.get(f"{API}/events", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert remote.get(f"{API}/events", cookies={"event_detection_review": TOKEN}).status_code == 401
    assert remote.get(f"{API}/v2/session").json() == {"admitted": False}


def test_the_token_opens_as_bearer(remote: TestClient):
    assert remote.get(f"{API}/events", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_token_is_traded_for_a_cookie_that_scripts_cannot_read(remote: TestClient):
    assert remote.post(f"{API}/v2/login", json={"token": "wrong"}).status_code == 403
    response = remote.post(f"{API}/v2/login", json={"token": TOKEN})
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and TOKEN not in cookie
    assert remote.get(f"{API}/events").status_code == 200
    assert remote.get(f"{API}/v2/session").json() == {"admitted": True}


def test_guessing_is_slowed_down(remote: TestClient):
    tries = [remote.post(f"{API}/v2/login", json={"token": f"guess {i}"}).status_code for i in range(7)]
    assert tries == [403] * 5 + [429] * 2
    refused = remote.post(f"{API}/v2/login", json={"token": TOKEN})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= FAILED_LOGIN_SECONDS + 1


def test_after_a_while_the_right_token_is_let_in_again():
    now = [0.0]
    gate = Gate(TOKEN, lambda: now[0])
    for _ in range(5):
        gate.login("wrong")
    assert gate.login(TOKEN)
    now[0] = FAILED_LOGIN_SECONDS
    assert gate.login(TOKEN) is None


def test_a_cookie_is_good_for_its_token_only():
    cookie = Headers({"cookie": f"event_detection_review={Gate('another-token-at-all').cookie}"})
    assert not Gate(TOKEN).admits(cookie)


def test_another_site_cannot_answer(local: TestClient, database: Db):
    conversation = add_flagged(database)
    swipe = {"transcript_version_id": f"{conversation}-v1", "conversation_id": conversation}
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert local.post(f"{API}/accept", json=swipe, headers=headers).status_code == 403
    form = local.post(f"{API}/accept", data=swipe)
    text = local.post(f"{API}/accept", content="{}", headers={"Content-Type": "text/plain"})
    assert (form.status_code, text.status_code) == (415, 415)
    assert version_of(database, conversation)["maybe_anomaly"] is True
    assert local.post(f"{API}/accept", json=swipe, headers={"Origin": LOCAL}).status_code == 200


def test_a_rebound_name_is_not_answered(local: TestClient):
    assert local.get(f"{API}/events", headers={"Host": "evil.example:8710"}).status_code == 421
    assert local.get(f"{API}/events", headers={"Host": "localhost:8710"}).status_code == 200


def test_a_listed_origin_may_use_the_api(database: Db):
    origin = "http://chronicle.local:5173"
    settings = Settings(review=ReviewSettings(allowed_origins=(origin,)))
    conversation = add_flagged(database)
    swipe = {"transcript_version_id": f"{conversation}-v1", "conversation_id": conversation}
    with TestClient(create_app(database, settings), base_url=LOCAL) as client:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        assert client.options(f"{API}/accept", headers=asked).headers["access-control-allow-origin"] == origin
        answer = client.post(f"{API}/accept", json=swipe, headers={"Origin": origin})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        assert client.get(f"{API}/events", headers={"Host": "chronicle.local:5173"}).status_code == 200
        other = client.get(f"{API}/events", headers={"Origin": "http://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_a_page_of_a_listed_origin_comes_in_with_the_token(database: Db):
    origin = "http://chronicle.local:5173"
    settings = Settings(review=ReviewSettings(allowed_origins=(origin,)))
    with TestClient(create_app(database, settings, token=TOKEN), base_url="http://10.0.0.5:8710") as client:
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        allowed = client.options(
            f"{API}/events", headers=asked | {"Access-Control-Request-Headers": "authorization,content-type"}
        )
        assert allowed.status_code == 200
        answer = client.get(f"{API}/events", headers={"Origin": origin, "Authorization": f"Bearer {TOKEN}"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)


def test_a_request_too_large_is_refused_with_or_without_its_length(local: TestClient):
    huge = b'{"reason": "' + b"x" * 3_000_000 + b'"}'
    assert local.post(f"{API}/accept", content=huge, headers={"Content-Type": "application/json"}).status_code == 413
    pieces = (huge[i : i + 100_000] for i in range(0, len(huge), 100_000))
    unsized = local.post(f"{API}/accept", content=pieces, headers={"Content-Type": "application/json"})
    assert unsized.status_code == 422


def test_replies_tell_browsers_to_be_careful(local: TestClient):
    page, api = local.get("/"), local.get(f"{API}/events")
    for response in (page, api):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["referrer-policy"] == "no-referrer"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
    assert api.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in api.headers
    assert local.get("/").headers["content-security-policy"] != policy  # a nonce is used once


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("192.168.1.2", False), ("x", False)],
)
def test_only_this_machines_own_addresses_go_without_a_token(host: str, local: bool):
    assert is_loopback(host) is local
