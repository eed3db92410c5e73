"""Finding work: everything that is pending is found, at a cost that the length of the history does not change."""

from datetime import UTC, datetime, timedelta

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent, CommandSucceededEvent

from event_detection_pipeline.chronicle.database import (
    CONVERSATIONS,
    EVENT_REVIEWS,
    EVENT_SCAN_LEASES,
    EVENT_SCAN_PROGRESS,
    EVENT_SCANS,
)
from event_detection_pipeline.scan import work
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.results import write_results
from event_detection_pipeline.scan.work import RECENT, Work
from event_detection_pipeline_tests.scan.documents import (
    CHIME,
    Db,
    flags_of,
    heard,
    id_of,
    save_conversation,
    set_flag,
    work_of,
)

NOW = datetime(2020, 11, 1, tzinfo=UTC)
LONG_AGO = NOW - 3 * RECENT


def save_history(database: Db, count: int, *, until: datetime = LONG_AGO) -> None:
    """Conversations of the past, old-0 the oldest."""
    for number in range(count):
        save_conversation(database, f"old-{number}", _id=id_of(until - timedelta(hours=count - number)))


def scan_all(database: Db, names: list[str], adapter: str = "chime_v1") -> None:
    write_results(database, [heard(name, 0.1, adapter=adapter) for name in names])


def test_pending_are_unanswered_undeleted_active_versions_newest_first(chronicle: Db) -> None:
    save_conversation(chronicle, "marked by the old script", flag=True)
    save_conversation(chronicle, "older")
    save_conversation(chronicle, "newer")
    save_conversation(chronicle, "accepted", flag="verified")
    save_conversation(chronicle, "rejected", flag="rejected")
    save_conversation(chronicle, "deleted", deleted=True)
    save_conversation(chronicle, "reviewed")
    chronicle[EVENT_REVIEWS].insert_one(
        {"conversation_id": "reviewed", "version_id": "v1", "event": "chime", "answer": "accepted"}
    )
    chronicle[CONVERSATIONS].insert_one({"conversation_id": "odd", "transcript_versions": "not a list"})
    assert work_of(chronicle) == ["newer", "older", "marked by the old script"]


@pytest.mark.parametrize("name", ["verified_at", "rejected_at"])
@pytest.mark.parametrize("moment", [["2026-01-01"], {"$date": "2026-01-01"}, 7, datetime(2026, 1, 1, tzinfo=UTC)])
def test_a_moment_of_another_type_than_chronicles_stops_no_scan(chronicle: Db, name: str, moment: object) -> None:
    save_conversation(chronicle, "odd")
    chronicle[CONVERSATIONS].update_one({}, {"$set": {f"transcript_versions.1.{name}": moment}})
    save_conversation(chronicle, "newer")
    assert work_of(chronicle) == ["newer", "odd"]


def test_a_new_adapter_makes_unanswered_versions_pending_again(chronicle: Db) -> None:
    for name in ("answered", "older", "newer"):
        save_conversation(chronicle, name)
    assert work_of(chronicle) == ["newer", "older", "answered"]
    scan_all(chronicle, ["answered", "older", "newer"])
    set_flag(chronicle, "answered", "rejected")
    assert work_of(chronicle) == []
    assert work_of(chronicle, {"chime": "chime_v2"}) == ["newer", "older"]
    assert work_of(chronicle, {"chime": "chime_v1", "sneeze": "sneeze_v1"}) == ["newer", "older"]


def test_a_limit_goes_on_where_the_last_scan_stopped(chronicle: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_BATCH", 4)
    save_history(chronicle, 10)
    seen = []
    while found := work_of(chronicle, limit=3):
        scan_all(chronicle, found)
        seen += found
    assert seen == [f"old-{number}" for number in reversed(range(10))]


def test_what_an_earlier_release_left_as_progress_is_begun_anew(chronicle: Db) -> None:
    save_history(chronicle, 3)
    scan_all(chronicle, work_of(chronicle, limit=1))
    chronicle[EVENT_SCAN_PROGRESS].update_one({}, {"$unset": {"oldest": 1}})
    assert work_of(chronicle) == ["old-1", "old-0"]


def test_new_conversations_come_before_an_unfinished_backlog(chronicle: Db) -> None:
    save_history(chronicle, 5)
    scan_all(chronicle, work_of(chronicle, limit=2))
    save_conversation(chronicle, "new", _id=id_of(NOW))
    assert work_of(chronicle) == ["new", "old-2", "old-1", "old-0"]


def test_a_recent_conversation_that_gets_its_transcript_later_is_found_at_once(chronicle: Db) -> None:
    save_conversation(chronicle, "late", _id=id_of(NOW - RECENT / 2), active_transcript_version=None)
    save_conversation(chronicle, "newest", _id=id_of(NOW))
    scan_all(chronicle, work_of(chronicle))
    assert work_of(chronicle) == []
    chronicle[CONVERSATIONS].update_one({"conversation_id": "late"}, {"$set": {"active_transcript_version": "v1"}})
    assert work_of(chronicle) == ["late"]


@pytest.mark.parametrize("change", [{"active_transcript_version": "old"}, {"deleted": False}])
def test_an_old_conversation_that_changes_is_found_within_one_sweep(
    chronicle: Db, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    monkeypatch.setattr(work, "SWEEP", 5)
    monkeypatch.setattr(work, "_BATCH", 5)
    save_history(chronicle, 20)
    save_conversation(chronicle, "newest", _id=id_of(NOW))
    chronicle[CONVERSATIONS].update_one({"conversation_id": "old-1"}, {"$set": {"deleted": "deleted" in change}})
    scan_all(chronicle, work_of(chronicle))
    assert work_of(chronicle) == []
    chronicle[CONVERSATIONS].update_one({"conversation_id": "old-1"}, {"$set": change})
    found = [work_of(chronicle) for _ in range(6)]
    assert ["old-1"] in found


def test_the_cost_is_that_of_new_conversations_whatever_the_history(
    chronicle: Db, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "SWEEP", 10)
    monkeypatch.setattr(work, "_BATCH", 10)
    costs = []
    for history in (30, 120):
        chronicle.client.drop_database(chronicle.name)
        save_history(chronicle, history)
        save_conversation(chronicle, "newest", _id=id_of(NOW))
        scan_all(chronicle, work_of(chronicle))
        commands = Commands()
        with MongoClient(mongodb_uri, event_listeners=[commands]) as client:
            assert work_of(client[chronicle.name]) == []
        costs.append((commands.names, commands.documents))
    assert costs[0] == costs[1]
    assert "getMore" not in commands.names


class Commands(CommandListener):
    """What a client asks of its server, and how many documents it gets."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.documents = 0

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name != "update":  # leases are kept alive in the background
            self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self.documents += len(event.reply.get("cursor", {}).get("firstBatch", []))

    def failed(self, event: object) -> None: ...


def test_gaps_crowds_and_wrong_clocks_hide_no_conversation(chronicle: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_BATCH", 3)
    moments = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2001, 5, 5, tzinfo=UTC)]
    moments += [LONG_AGO] * 200 + [LONG_AGO + timedelta(seconds=1)] * 2
    moments += [NOW, datetime(2090, 1, 1, tzinfo=UTC)]
    for number, moment in enumerate(moments):
        save_conversation(chronicle, str(number), _id=id_of(moment))
    found = work_of(chronicle)
    assert sorted(found, key=int) == [str(number) for number in range(len(moments))]
    scan_all(chronicle, found)
    save_conversation(chronicle, "new", _id=id_of(datetime.now(UTC)))
    assert work_of(chronicle) == ["new"]


def test_flags_that_chronicle_overwrote_are_set_again_but_no_answer_is(chronicle: Db) -> None:
    for name in ("lost", "lost quiet", "kept", "answered"):
        save_conversation(chronicle, name)
    quiet = heard("lost quiet", 0.1)
    write_results(chronicle, [heard("lost", 0.9), quiet, heard("kept", 0.9), heard("answered", 0.9)])
    for name, flag in (("lost", None), ("lost quiet", None), ("answered", "rejected")):
        set_flag(chronicle, name, flag)
    assert work_of(chronicle) == []
    assert flags_of(chronicle, "lost") == [None, True]
    assert flags_of(chronicle, "lost quiet") == [None, False]
    assert flags_of(chronicle, "answered") == [None, "rejected"]


def test_a_flag_that_a_person_wants_back_stays(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    write_results(chronicle, [heard("a", 0.1)])
    set_flag(chronicle, "a", True)  # taking an answer back flags it again
    assert work_of(chronicle) == []
    assert flags_of(chronicle, "a") == [None, True]


def test_adapters_of_one_event_leave_the_progress_of_all_events_alone(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    assert work_of(chronicle, CHIME) == ["a"]
    assert work_of(chronicle, CHIME | {"sneeze": "sneeze_v1"}) == ["a"]
    scan_all(chronicle, ["a"])
    assert work_of(chronicle, CHIME) == []
    assert work_of(chronicle, CHIME | {"sneeze": "sneeze_v1"}) == ["a"]


def test_a_scan_that_a_promotion_overtakes_replaces_nothing_of_the_new_adapters(chronicle: Db) -> None:
    names = [f"c{number}" for number in range(12)]
    for name in names:
        save_conversation(chronicle, name)
    promoted = ["chime_v1"]
    with Leases(chronicle, ["chime_v1"]) as leases:
        drawn = iter(Work(chronicle, CHIME, leases, None, lambda: promoted != ["chime_v1"]))
        held = [next(drawn)]
        promoted[:] = ["chime_v2"]
        by_new = work_of(chronicle, {"chime": "chime_v2"})
        scan_all(chronicle, by_new, "chime_v2")
        held += drawn
        scan_all(chronicle, [version.conversation_id for version in held])
        leases.finish(held)
    assert by_new and {version.conversation_id for version in held} == set(names) - set(by_new)
    assert {one["conversation_id"] for one in chronicle[EVENT_SCANS].find({"adapter": "chime_v2"})} == set(by_new)
    assert sorted(work_of(chronicle, {"chime": "chime_v2"})) == sorted(set(names) - set(by_new)), "the rest comes next"
    assert chronicle[EVENT_SCAN_LEASES].count_documents({}) == 0


def test_what_a_killed_scan_held_for_a_former_adapter_is_heard_by_the_present_one(chronicle: Db) -> None:
    for name in ("a", "b"):
        save_conversation(chronicle, name)
    killed = Leases(chronicle, ["chime_v1"], lease_time=timedelta(0))
    assert len(list(Work(chronicle, CHIME, killed, None))) == 2
    assert sorted(work_of(chronicle, {"chime": "chime_v2"})) == ["a", "b"]
    assert chronicle[EVENT_SCAN_LEASES].count_documents({}) == 0


def test_another_events_duty_is_nobodys_to_inherit(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    killed = Leases(chronicle, ["sneeze_v1"], lease_time=timedelta(0))
    assert len(list(Work(chronicle, {"sneeze": "sneeze_v1"}, killed, None))) == 1
    scan_all(chronicle, work_of(chronicle, {"chime": "chime_v2"}), "chime_v2")
    (lease,) = chronicle[EVENT_SCAN_LEASES].find()
    assert "sneeze_v1" in lease["adapters"]
