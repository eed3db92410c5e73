"""Two people answer one version from two processes, at every moment of each other, and the slower process may die."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient, monitoring
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS, TRAINING_STASH, ensure_indexes
from event_detection_pipeline.review.answers import record, settle_unfinished
from event_detection_pipeline.review.reviews import Answer, Said
from event_detection_pipeline_tests.review.flags import add_flagged, add_scan, review_of, version_of

Db = Database[dict[str, Any]]
Saying = tuple[str, Said]
Sayings = tuple[Saying, Saying]

_CHANGES = ("insert", "update", "delete")
_PAIRS: list[Sayings] = [
    (("sneeze", "rejected"), ("sneeze", "accepted")),
    (("sneeze", "accepted"), ("sneeze", "rejected")),
    (("doorbell", "rejected"), ("sneeze", "rejected")),
]


class Died(BaseException):
    """Nothing that a process does when it fails happens when it is killed: this is no Exception."""


class Fate(monitoring.CommandListener):
    """What befalls a client: somebody else overtakes it before its n-th command, and it dies before its n-th change
    after that (both from 0; None: it lives)."""

    def __init__(self) -> None:
        self.becomes(-1, lambda: None, None)

    def becomes(self, overtaken_before: int, overtake: Callable[[], object], dies_before: int | None) -> None:
        self._commands = self._changes = 0
        self._overtaken_before, self._overtake, self._dies_before = overtaken_before, overtake, dies_before
        self.overtaken = self.died = False

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name not in ("find", *_CHANGES):
            return
        if self._commands == self._overtaken_before:
            self.overtaken = True
            self._overtake()
        self._commands += 1
        if self.overtaken and event.command_name in _CHANGES:
            if self._changes == self._dies_before:
                self.died = True
                raise Died
            self._changes += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.fixture(autouse=True)
def indexes(database: Db) -> None:
    ensure_indexes(database)


@pytest.fixture
def fate() -> Fate:
    return Fate()


@pytest.fixture
def slower(database: Db, mongodb_uri: str, fate: Fate) -> Iterator[Db]:
    """The same database, as the process sees it that has this fate."""
    with MongoClient[dict[str, Any]](mongodb_uri, event_listeners=[fate], tz_aware=True) as client:
        yield client[database.name]


def say(database: Db, conversation: str, saying: Saying) -> None:
    event, answer = saying
    said = Answer(conversation, f"{conversation}-v1", answer, "ada", event)
    record(database, said, configured=["sneeze", "doorbell"], copy_audio=False)


def answer_together(
    database: Db, slower: Db, fate: Fate, sayings: Sayings, overtaken_before: int, dies_before: int | None = None
) -> str:
    """Say the first, and the second in the middle of it. Returns the conversation."""
    conversation = add_flagged(database, event="sneeze", chunks=[])
    if {event for event, _ in sayings} == {"sneeze", "doorbell"}:
        add_scan(database, conversation, event="doorbell")
    fate.becomes(overtaken_before, lambda: say(database, conversation, sayings[1]), dies_before)
    with suppress(Died):
        say(slower, conversation, sayings[0])
    return conversation


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
    database: Db, slower: Db, fate: Fate, sayings: Sayings
):
    for overtaken_before in count():
        conversation = answer_together(database, slower, fate, sayings, overtaken_before)
        if not fate.overtaken:
            break
        assert contradiction(database, conversation) is None, f"overtaken before command {overtaken_before}"
    assert overtaken_before > 5


@pytest.mark.parametrize("sayings", _PAIRS)
def test_an_answer_overtaken_and_cut_short_anywhere_leaves_nothing_after_the_next_start(
    database: Db, slower: Db, fate: Fate, sayings: Sayings
):
    cases: dict[str, tuple[int, int]] = {}
    for overtaken_before in count():
        for dies_before in count():
            conversation = answer_together(database, slower, fate, sayings, overtaken_before, dies_before)
            cases[conversation] = overtaken_before, dies_before
            if not fate.died:
                break
        if not fate.overtaken:
            break
    settle_unfinished(database, copy_audio=False)
    broken = {case: found for id_, case in cases.items() if (found := contradiction(database, id_))}
    assert broken == {}
    assert len(cases) > 30


def test_who_began_to_carry_an_answer_out_an_hour_ago_is_waited_for_no_longer(database: Db, slower: Db, fate: Fate):
    conversation = answer_together(database, slower, fate, _PAIRS[0], overtaken_before=7, dies_before=1)
    assert fate.died
    assert settle_unfinished(database, copy_audio=False) == 1
    assert settle_unfinished(database, copy_audio=False) == 1  # whoever began may be slow, and still write
    (begun,) = review_of(database, conversation, "sneeze")["settling"]
    earlier = ObjectId.from_datetime(datetime.now(UTC) - timedelta(hours=2))
    database[EVENT_REVIEWS].update_one({"settling": begun}, {"$set": {"settling": [earlier]}})
    assert settle_unfinished(database, copy_audio=False) == 1
    assert settle_unfinished(database, copy_audio=False) == 0


def test_what_is_forgotten_while_its_answer_is_carried_out_does_not_stay_in_the_stash(
    database: Db, slower: Db, fate: Fate
):
    def forget() -> None:
        for name in (TRAINING_STASH, EVENT_REVIEWS):
            database[name].delete_many({"conversation_id": conversation})

    for overtaken_before in count():
        conversation = add_flagged(database, event="sneeze", chunks=[])
        fate.becomes(overtaken_before, forget, None)
        say(slower, conversation, ("sneeze", "rejected"))
        if not fate.overtaken:
            break
        stashed, logged = (
            database[name].count_documents({"conversation_id": conversation})
            for name in (TRAINING_STASH, EVENT_REVIEWS)
        )
        assert stashed == logged, f"forgotten before command {overtaken_before}"
    assert overtaken_before > 5
