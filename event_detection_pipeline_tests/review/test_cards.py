"""Cards: what waits for an answer is found, whatever its flag says, at the cost of what waits."""

from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from event_detection_pipeline.review.answers import record, withdraw
from event_detection_pipeline.review.cards import CardFinder, find_cards, load_content
from event_detection_pipeline.review.reviews import Answer
from event_detection_pipeline_tests.review.flags import add_flagged, add_scan, version_of

Db = Database[dict[str, Any]]


class Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(find: CardFinder) -> list[str]:
    """The conversations of the cards, oldest first."""
    return [card.key.conversation_id for card in find()]


def test_cards_are_the_unanswered_flags_of_active_versions(database: Db):
    waiting = add_flagged(database, score=0.7)
    unscanned = add_flagged(database, event=None)
    add_flagged(database, deleted=True)
    add_flagged(database, active_transcript_version="another")
    verified = add_flagged(database)
    database["conversations"].update_one(
        {"conversation_id": verified}, {"$set": {"transcript_versions.0.maybe_anomaly": "verified"}}
    )
    found = {found.key.conversation_id: found for found in find_cards(database, ["event"])}
    assert set(found) == {waiting, unscanned}
    assert (found[waiting].score, found[waiting].adapter) == (0.7, "event_v1")
    assert (found[unscanned].key.event, found[unscanned].score) == ("event", None)


def test_a_flag_that_chronicle_overwrote_is_a_card_and_is_set_again(database: Db):
    clock = Clock()
    find = CardFinder(database, ["event"], clock=clock)
    while_shown = add_flagged(database)
    assert shown(find) == [while_shown]
    overwrite = {"$set": {"transcript_versions.0.maybe_anomaly": None}}
    database["conversations"].update_one({"conversation_id": while_shown}, overwrite)
    before_it_was_shown = add_flagged(database)
    database["conversations"].update_one({"conversation_id": before_it_was_shown}, overwrite)
    assert shown(find) == [while_shown]
    clock.now = 3600.0
    assert shown(find) == [while_shown, before_it_was_shown]
    assert all(version_of(database, one)["maybe_anomaly"] is True for one in (while_shown, before_it_was_shown))


def test_a_look_for_cards_reads_nothing_of_what_was_answered_long_ago(database: Db, mongodb_uri: str):
    for _ in range(20):
        answered = add_flagged(database, chunks=[])
        review = {"conversation_id": answered, "version_id": f"{answered}-v1", "event": "event", "answer": "accepted"}
        database["event_reviews"].insert_one(review | {"reviewed_at": datetime(2025, 3, 1, tzinfo=UTC)})
    database["conversations"].update_many({}, {"$set": {"transcript_versions.0.maybe_anomaly": "verified"}})
    waiting = add_flagged(database, chunks=[])
    read = DocumentsRead()
    with MongoClient[dict[str, Any]](mongodb_uri, event_listeners=[read]) as client:
        find = CardFinder(client[database.name], ["event"])
        assert shown(find) == [waiting]
        assert read.count > 40
        read.count = 0
        assert shown(find) == [waiting]
    assert read.count == 2  # the conversation and its scan


class DocumentsRead(CommandListener):
    """How many documents a client was sent."""

    count = 0

    def started(self, event: CommandStartedEvent) -> None: ...

    def succeeded(self, event: CommandSucceededEvent) -> None:
        cursor = event.reply.get("cursor", {})
        self.count += len(cursor.get("firstBatch", [])) + len(cursor.get("nextBatch", []))
        self.count += len(event.reply.get("values", []))

    def failed(self, event: CommandFailedEvent) -> None: ...


def test_the_second_event_of_a_version_still_waits_after_the_first_is_accepted(database: Db):
    conversation = add_flagged(database, event="sneeze")
    add_scan(database, conversation, event="doorbell")
    review = {"conversation_id": conversation, "version_id": f"{conversation}-v1", "event": "sneeze"}
    find = CardFinder(database, ["sneeze", "doorbell"])
    assert len(find()) == 2
    database["event_reviews"].insert_one(review | {"answer": "accepted"})
    database["conversations"].update_one({}, {"$set": {"transcript_versions.0.maybe_anomaly": "verified"}})
    for look in (find, find, CardFinder(database, ["sneeze", "doorbell"])):
        [waiting] = look()
        assert waiting.key.event == "doorbell"
        assert load_content(database, waiting) is not None


def test_an_answer_taken_back_waits_again_beside_an_accepted_one(database: Db):
    conversation = add_flagged(database, event="sneeze")
    add_scan(database, conversation, event="doorbell")
    find = CardFinder(database, ["sneeze", "doorbell"])
    for event in ("sneeze", "doorbell"):
        said = Answer(conversation, f"{conversation}-v1", "accepted", "ada", event)
        record(database, said, configured=["sneeze", "doorbell"], copy_audio=False)
    assert find() == []
    withdraw(database, conversation, f"{conversation}-v1", "doorbell", revision=1, reviewer="ada")
    assert [card.key.event for card in find()] == ["doorbell"]


def test_a_card_shows_the_words_around_the_event(database: Db):
    words = [{"word": f"w{i}", "start": float(i), "end": i + 0.5} for i in range(200)] + [{"word": "untimed"}]
    add_flagged(database, words=words, time=100.0, transcript="long", title="Dinner")
    [found] = find_cards(database, ["event"])
    content = load_content(database, found)
    assert content is not None
    assert (content.words[0].text, content.words[-1].text) == ("w55", "w145")
    assert (content.title, content.transcript, content.duration) == ("Dinner", "long", 5.0)
