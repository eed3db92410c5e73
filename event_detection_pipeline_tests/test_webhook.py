"""What reaches a webhook, and what must not."""

import json
from collections.abc import Iterator

import pytest

from event_detection_pipeline import webhook
from event_detection_pipeline.config import Settings, SettingsError, load_settings
from event_detection_pipeline.webhook import MAX_CHARACTERS, Message, WebhookError, post
from event_detection_pipeline_tests.receiver import Receiver, receiving

MESSAGE = Message("full_loop failed", "training_clips: the stash is empty", "full_loop", "0123")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as received:
        yield received


def settings(url: str | None, **more: object) -> Settings:
    return load_settings(automation={"webhook_url": url, **more}, mongodb_uri="mongodb://anna:hunter2@db:27017")


def test_json_is_what_most_webhooks_take(receiver: Receiver) -> None:
    post(MESSAGE, settings(receiver.url))
    assert json.loads(receiver.bodies[0]) == {
        "title": "full_loop failed",
        "text": "training_clips: the stash is empty",
        "job": "full_loop",
        "run_id": "0123",
    }
    assert receiver.headers[0]["Content-Type"] == "application/json"


def test_ntfy_takes_plain_text_with_a_title(receiver: Receiver) -> None:
    post(
        Message("full_loop failed", "zu wenige Hörbeispiele", "full_loop", "0123"),
        settings(receiver.url, webhook_style="ntfy"),
    )
    assert receiver.bodies[0].decode() == "zu wenige Hörbeispiele"
    assert receiver.headers[0]["Title"] == "full_loop failed"


@pytest.mark.parametrize("style", ["json", "ntfy"])
def test_no_secret_is_sent(receiver: Receiver, style: str) -> None:
    text = f"mongodb://anna:hunter2@db:27017 and redis://bob:swordfish@cache/0 and {receiver.url}"
    post(Message("t", text, "j", "r"), settings(receiver.url, webhook_style=style))
    body = receiver.bodies[0].decode()
    assert "hunter2" not in body
    assert "swordfish" not in body
    assert "secret-topic" not in body
    assert "redis://***@cache/0" in body


def test_a_long_text_is_cut(receiver: Receiver) -> None:
    post(Message("t", "x" * 100_000, "j", "r"), settings(receiver.url, webhook_style="ntfy"))
    assert len(receiver.bodies[0]) == MAX_CHARACTERS


def test_a_refusal_is_an_error_that_does_not_tell_the_address(receiver: Receiver) -> None:
    receiver.status = 403
    with pytest.raises(WebhookError, match="answered 403 Forbidden") as raised:
        post(MESSAGE, settings(receiver.url))
    assert len(receiver.bodies) == 1, "what is refused is not asked for again"
    assert "secret-topic" not in str(raised.value)


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "WAITS_SECONDS", (0.0, 0.0))


def test_a_webhook_that_fails_for_a_moment_is_told_all_the_same(receiver: Receiver, without_pauses: None) -> None:
    receiver.statuses = [503, 429]
    post(MESSAGE, settings(receiver.url))
    assert len(receiver.bodies) == 3


def test_a_webhook_that_goes_on_failing_is_not_asked_for_ever(receiver: Receiver, without_pauses: None) -> None:
    receiver.status = 503
    with pytest.raises(WebhookError, match="answered 503"):
        post(MESSAGE, settings(receiver.url))
    assert len(receiver.bodies) == 3


@pytest.mark.usefixtures("without_pauses")
def test_a_server_that_is_away_is_an_error_that_does_not_tell_the_address() -> None:
    with pytest.raises(WebhookError, match="does not answer") as raised:
        post(MESSAGE, settings("http://127.0.0.1:1/secret-topic"))
    assert "secret-topic" not in str(raised.value)


def test_an_address_of_another_kind_is_refused_without_being_repeated() -> None:
    with pytest.raises(SettingsError, match=r"automation.webhook_url.*not a web address") as raised:
        settings("file:///etc/passwd")
    assert "passwd" not in str(raised.value)
