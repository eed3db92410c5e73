"""The API does what its OpenAPI says, whatever is sent to it."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from pymongo.database import Database
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from event_detection_pipeline.config import Settings
from event_detection_pipeline.review.app import PREFIX, create_app
from event_detection_pipeline_tests.review.flags import add_flagged

LOCAL = {"Host": "127.0.0.1:8710"}
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]

ANSWER = b'"transcript_version_id": "v", "conversation_id": "c"'
CARD = b'"client": "a-browser-tab", "conversation_id": "c", "version_id": "v", "event": "event"'


@pytest.fixture
def client(database: Database[dict[str, Any]]) -> Iterator[TestClient]:
    """Gets a 500, and no exception, where the server fails."""
    with TestClient(create_app(database, Settings()), headers=LOCAL, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/accept", rb'{"transcript_version_id": "\ud800", "conversation_id": "c"}'),  # half of a character
        ("/accept", rb'{%s, "reason": "\udfff"}' % ANSWER),
        ("/v2/login", rb'{"token": "\ud800"}'),
        ("/accept", b'{"transcript_version_id": NaN, "conversation_id": "c"}'),
        ("/accept", b'{%s, "timestamp": NaN}' % ANSWER),
        ("/accept", b'{%s, "timestamp": 1e999}' % ANSWER),
        ("/accept", b"[" * 1_000_000),
        ("/accept", b'\xff\xfe{"a"'),
        ("/v2/undo", b'{%s, "revision": %s}' % (CARD, b"9" * 5000)),
    ],
)
def test_what_no_json_should_hold_is_refused(client: TestClient, path: str, body: bytes):
    response = client.post(PREFIX + path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.json()["detail"]


@pytest.mark.parametrize(
    "call",
    [
        f"/v2/queue?cursor={urlsafe_b64encode(b'[' * 1400).decode()}",
        f"/v2/queue?cursor={urlsafe_b64encode(b'[' + b'9' * 400 + b', []]').decode()}",
        f"/v2/stats?since={quote('0001-01-01T00:00:00+14:00')}",
        f"/v2/stats?since={quote('9999-12-31T23:59:59-14:00')}",
    ],
)
def test_what_no_parser_should_be_given_is_refused(client: TestClient, call: str):
    response = client.get(PREFIX + call)
    assert response.status_code == 422
    assert response.json()["detail"]


def test_a_refusal_does_not_repeat_what_was_sent(client: TestClient):
    response = client.post(f"{PREFIX}/v2/login", json={"token": "s3cret" * 100})
    assert response.status_code == 422
    assert "s3cret" not in response.text


def test_whatever_is_sent_is_answered_as_documented(database: Database[dict[str, Any]]):
    add_flagged(database)
    app = create_app(database, Settings())
    schema = schemathesis.openapi.from_asgi(f"{PREFIX}/openapi.json", app, headers=LOCAL)
    tried = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=SLOW)
        @given(case=operation.as_strategy())
        def send(case: Case) -> None:
            case.call_and_validate(headers=LOCAL, checks=CHECKS)

        send()
        tried.add(operation.label)
    assert {"POST /api/user-loop/reject", "POST /api/user-loop/v2/answers"} <= tried
