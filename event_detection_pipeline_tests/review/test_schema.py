"""The API does what its OpenAPI says, whatever is sent to it."""

from typing import Any

import schemathesis
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
