"""Tell a person elsewhere: one message to the configured webhook, with nothing in it that is secret."""

import json
import re
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass

from pydantic import SecretStr

from event_detection_pipeline.config import Settings
from event_detection_pipeline.errors import PipelineError

TIMEOUT_SECONDS = 10
WAITS_SECONDS = (2.0, 8.0)  # before each further try; all tries together fit into the minute that a sensor has
MAX_CHARACTERS = 1000  # of a text; a phone shows no more, and ntfy makes a file of more than 4096 bytes
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")  # user:password@ in any URI


class WebhookError(PipelineError):
    """The webhook did not take a message; the error never holds its address."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is told. `title` is ASCII, as an HTTP header has to be; `run_id` finds the run in the UI."""

    title: str
    text: str
    job: str
    run_id: str


def post(message: Message, settings: Settings) -> None:
    """Send a message the way `automation.webhook_style` says; again where the webhook is away for a moment.

    Raises:
        WebhookError: no webhook is configured, it does not answer, or it refuses.
    """
    automation = settings.automation
    if automation.webhook_url is None:
        raise WebhookError("there is nobody to tell: set automation.webhook_url")
    safe = Message(message.title, without_secrets(message.text, settings)[:MAX_CHARACTERS], message.job, message.run_id)
    if automation.webhook_style == "ntfy":
        data, headers = safe.text.encode(), {"Title": safe.title, "Tags": "warning"}
    else:
        data, headers = json.dumps(asdict(safe)).encode(), {"Content-Type": "application/json"}
    # The settings let no other scheme through than http and https.
    request = urllib.request.Request(automation.webhook_url.get_secret_value(), data, headers, method="POST")  # noqa: S310
    for wait in WAITS_SECONDS:
        try:
            return _send(request)
        except _Passing:
            time.sleep(wait)
    return _send(request)


class _Passing(WebhookError):
    """What may be over in a moment: no connection, or an error of the server's own."""


def _send(request: urllib.request.Request) -> None:
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
            pass
    except urllib.error.HTTPError as error:
        kind = _Passing if error.code >= 500 or error.code == 429 else WebhookError
        raise kind(f"the webhook answered {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        # The error's own text may quote the address, which is a secret.
        raise _Passing(f"the webhook does not answer ({type(error).__name__})") from None


def without_secrets(text: str, settings: Settings) -> str:
    """The text without any secret of the settings, and without credentials in other addresses."""
    secrets = (settings.mongodb_uri, settings.review.token, settings.automation.webhook_url)
    for secret in secrets:
        if isinstance(secret, SecretStr):
            text = text.replace(secret.get_secret_value(), "***")
    return _CREDENTIALS.sub("***@", text)
