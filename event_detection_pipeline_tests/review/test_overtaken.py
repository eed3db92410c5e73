"""Two people answer one version from two processes, at every moment of each other."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient, monitoring
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS, TRAINING_STASH, ensure_indexes
from event_detection_pipeline.review.answers import record
from event_detection_pipeline.review.reviews import Answer, Said
from event_detection_pipeline_tests.review.flags import add_flagged, add_scan, version_of

Db = Database[dict[str, Any]]
Saying = tuple[str, Said]

_COMMANDS = ("find", "insert", "update", "delete")
_PAIRS: list[tuple[Saying, Saying]] = [
    (("sneeze", "rejected"), ("sneeze", "accepted")),
    (("sneeze", "accepted"), ("sneeze", "rejected")),
    (("doorbell", "rejected"), ("sneeze", "rejected")),
    (("doorbell", "rejected"), ("sneeze", "accepted")),
]


class Fate(monitoring.CommandListener):
    """Lets somebody else overtake a client before its n-th command."""

    def __init__(self, overtaken_before: int, overtake: Callable[[], object]) -> None:
        self._commands = 0
        self._overtaken_before, self._overtake = overtaken_before, overtake
        self.overtaken = False

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name not in _COMMANDS:
            return
        if self._commands == self._overtaken_before:
            self.overtaken = True
            self._overtake()
        self._commands += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.fixture(autouse=True)
def indexes(database: Db) -> None:
    ensure_indexes(database)


def say(database: Db, conversation: str, saying: Saying) -> None:
    event, answer = saying
    said = Answer(conversation, f"{conversation}-v1", answer, "ada", event)
    record(database, said, configured=["sneeze", "doorbell"], copy_audio=False)


def answer_together(database: Db, uri: str, sayings: tuple[Saying, Saying], overtaken_before: int) -> tuple[str, bool]:
    """Say the first; the second is said in the middle of it. The conversation, and whether it was."""
    conversation = add_flagged(database, event="sneeze", chunks=[])
    if {event for event, _ in sayings} == {"sneeze", "doorbell"}:
        add_scan(database, conversation, event="doorbell")
    fate = Fate(overtaken_before, lambda: say(database, conversation, sayings[1]))
    with MongoClient[dict[str, Any]](uri, event_listeners=[fate], tz_aware=True) as client:
        say(client[database.name], conversation, sayings[0])
    return conversation, fate.overtaken


def contradiction(database: Db, conversation: str) -> str | None:
    """What stash and flag say, if it is not what the log says."""
    flagged = set(database["event_scans"].distinct("event", {"conversation_id": conversation}))
    said = {one["event"]: one["answer"] for one in database[EVENT_REVIEWS].find({"conversation_id": conversation})}
    if "accepted" in said.values():
        expected = ("verified", 0)
    else:
        expected = ("rejected", 1) if set(said) == flagged else (True, 0)
    stashed = database[TRAINING_STASH].count_documents({"conversation_id": conversation})
    is_said = version_of(database, conversation)["maybe_anomaly"], stashed
    return None if is_said == expected else f"{said}: {is_said}"


@pytest.mark.parametrize("sayings", _PAIRS)
def test_whoever_is_overtaken_wherever_stash_and_flag_say_what_the_log_says(
    database: Db, mongodb_uri: str, sayings: tuple[Saying, Saying]
):
    for overtaken_before in range(100):
        conversation, overtaken = answer_together(database, mongodb_uri, sayings, overtaken_before)
        if not overtaken:
            break
        assert contradiction(database, conversation) is None, f"overtaken before command {overtaken_before}"
    assert overtaken_before > 5
