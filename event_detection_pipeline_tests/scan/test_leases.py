"""Leases: two scans never hold the same version, and nothing that one held is lost."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
import time_machine
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from pymongo.monitoring import CommandListener, CommandSucceededEvent

from event_detection_pipeline.chronicle.database import EVENT_SCAN_LEASES, connect, ensure_indexes
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.scan import work
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.pending import PendingVersion
from event_detection_pipeline.scan.results import write_results
from event_detection_pipeline.scan.work import Work
from event_detection_pipeline_tests.faults.server import Server
from event_detection_pipeline_tests.scan.documents import CHIME, Db, heard, id_of, save_conversation, work_of

ADAPTERS = ("chime_v1",)
VERSIONS = [PendingVersion(f"c{number}", "v1") for number in range(5)]


def test_what_one_scan_holds_no_other_gets(chronicle: Db) -> None:
    with Leases(chronicle, ADAPTERS) as one, Leases(chronicle, ADAPTERS) as other:
        assert one.take(VERSIONS[:3]) == VERSIONS[:3]
        assert other.take(VERSIONS) == VERSIONS[3:]
        assert other.abandoned() == []


def test_a_scan_that_takes_up_what_it_left_gets_it_once(chronicle: Db) -> None:
    save_conversation(chronicle, "a")
    with Leases(chronicle, CHIME.values()) as leases:
        leases.take([PendingVersion("a", "v1")])
    with Leases(chronicle, CHIME.values()) as leases:
        assert len(list(Work(chronicle, CHIME, leases, limit=None))) == 1


def test_a_finished_version_leaves_no_trace(chronicle: Db) -> None:
    with Leases(chronicle, ADAPTERS) as leases:
        leases.finish(leases.take(VERSIONS))
    assert chronicle[EVENT_SCAN_LEASES].count_documents({}) == 0


def test_what_a_scan_left_that_was_killed_while_it_finished_goes_with_the_next_finished_version(chronicle: Db) -> None:
    with Leases(chronicle, ADAPTERS) as leases:
        leases.take(VERSIONS[:2])
        chronicle[EVENT_SCAN_LEASES].update_one({"conversation_id": "c0"}, {"$set": {"adapters": [], "owner": None}})
        leases.finish(VERSIONS[1:2])
    assert chronicle[EVENT_SCAN_LEASES].count_documents({}) == 0


def test_a_scan_that_stops_in_good_order_frees_what_it_held_and_blames_no_version(chronicle: Db) -> None:
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt), Leases(chronicle, ADAPTERS) as leases:
            (version,) = leases.take(VERSIONS[:1])
            assert version.attempts == 1
            raise KeyboardInterrupt
    assert Leases(chronicle, ADAPTERS).abandoned() == VERSIONS[:1]


def test_a_killed_scans_versions_are_free_when_their_leases_expire(chronicle: Db) -> None:
    killed = Leases(chronicle, ADAPTERS, lease_time=timedelta(seconds=-1))
    killed.take(VERSIONS[:2])
    with Leases(chronicle, ADAPTERS) as leases:
        assert leases.abandoned() == VERSIONS[:2]
        assert [version.attempts for version in leases.take(VERSIONS[:2], suspects=True)] == [2, 2]


def test_what_a_scan_died_over_is_taken_by_nobody_who_does_not_look_at_it_alone(chronicle: Db) -> None:
    Leases(chronicle, ADAPTERS, lease_time=timedelta(seconds=-1)).take(VERSIONS[:2])
    with Leases(chronicle, ADAPTERS) as leases:
        assert leases.take(VERSIONS) == VERSIONS[2:]
        assert leases.abandoned() == VERSIONS[:2]


def test_the_more_scans_died_over_a_version_the_later_its_turn_comes(chronicle: Db) -> None:
    Leases(chronicle, ADAPTERS, lease_time=timedelta(seconds=-1)).take(VERSIONS)
    Leases(chronicle, ADAPTERS, lease_time=timedelta(seconds=-1)).take(VERSIONS[:1], suspects=True)
    assert Leases(chronicle, ADAPTERS).abandoned() == [*VERSIONS[1:], VERSIONS[0]]


@pytest.mark.parametrize(
    ("error", "attempts"), [(ValueError, 1), (PipelineError, 0), (AutoReconnect, 0), (KeyboardInterrupt, 0)]
)
def test_an_error_that_nobody_foresaw_counts_against_what_was_in_work(
    chronicle: Db, error: type[BaseException], attempts: int
) -> None:
    with pytest.raises(error), Leases(chronicle, ADAPTERS) as leases:
        leases.take(VERSIONS[:2])
        raise error
    assert [version.attempts for version in Leases(chronicle, ADAPTERS).abandoned()] == [attempts] * 2


def test_a_lease_that_only_a_wrong_clock_can_have_made_holds_nothing(chronicle: Db) -> None:
    killed = Leases(chronicle, ADAPTERS, lease_time=timedelta(days=400))
    killed.take(VERSIONS[:2])
    with Leases(chronicle, ADAPTERS) as leases:
        assert leases.abandoned() == VERSIONS[:2]
        assert leases.take(VERSIONS[:2], suspects=True) == VERSIONS[:2]


def test_leases_go_by_the_servers_clock_and_not_by_that_of_a_machine_which_is_ahead(tmp_path: Path) -> None:
    with Server(tmp_path) as server:  # in a process of its own: what follows sets the clock of this one
        database = connect(server.uri, "chronicle")
        ensure_indexes(database)
        with time_machine.travel(datetime.now(UTC) + timedelta(minutes=8)):
            Leases(database, ADAPTERS, lease_time=timedelta(seconds=-1)).take(VERSIONS[:1])
            Leases(database, ADAPTERS).take(VERSIONS[1:2])
        with Leases(database, ADAPTERS) as leases:
            assert leases.abandoned() == VERSIONS[:1]
            assert leases.take(VERSIONS[:2], suspects=True) == VERSIONS[:1]
        database.client.close()


def test_a_living_scan_keeps_its_leases_however_long_it_takes(chronicle: Db) -> None:
    with Leases(chronicle, ADAPTERS, lease_time=timedelta(seconds=0.6)) as one, Leases(chronicle, ADAPTERS) as other:
        one.take(VERSIONS)
        time.sleep(1.5)
        assert other.take(VERSIONS) == []
        assert other.abandoned() == []


def test_a_scan_for_another_event_takes_the_version_and_leaves_the_duty(chronicle: Db) -> None:
    Leases(chronicle, ("chime_v1", "sneeze_v1"), lease_time=timedelta(seconds=-1)).take(VERSIONS[:1])
    with Leases(chronicle, ADAPTERS) as leases:
        leases.finish(leases.take(VERSIONS[:1], suspects=True))
        assert leases.abandoned() == []
    assert Leases(chronicle, ("sneeze_v1",)).abandoned() == VERSIONS[:1]


@pytest.mark.parametrize("later", [{"sneeze": "sneeze_v1"}, {"chime": "chime_v2"}])
def test_what_another_scan_held_meanwhile_comes_first_in_the_next_one(
    chronicle: Db, monkeypatch: pytest.MonkeyPatch, later: dict[str, str]
) -> None:
    monkeypatch.setattr(work, "SWEEP", 2)
    monkeypatch.setattr(work, "_BATCH", 2)
    for number in range(20):
        save_conversation(chronicle, f"c{number}", _id=id_of(datetime(2020, 1, 1 + number, tzinfo=UTC)))
    with Leases(chronicle, ADAPTERS) as one:
        held = one.take(VERSIONS[3:4])
        found = work_of(chronicle, later)
        assert found == [f"c{number}" for number in reversed(range(20)) if number != 3]
        ((event, adapter),) = later.items()
        write_results(chronicle, [heard(name, 0.1, event=event, adapter=adapter) for name in found])
        one.finish(held)
    assert work_of(chronicle, later) == ["c3"]
    assert work_of(chronicle, later) == []
    assert chronicle[EVENT_SCAN_LEASES].count_documents({}) == 0


class AfterRefusal(CommandListener):
    """Something that happens after a client has seen for the first time which leases are its own."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens = [happens]

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if event.command_name == "find" and self._happens:
            self._happens.pop()()

    def started(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


def test_what_another_scan_finishes_just_after_it_refused_it_is_free(chronicle: Db, mongodb_uri: str) -> None:
    with Leases(chronicle, ADAPTERS) as one:
        held = one.take(VERSIONS[:2])
        listener = AfterRefusal(lambda: one.finish(held[:1]))
        with MongoClient[dict[str, Any]](mongodb_uri, event_listeners=[listener]) as client:
            assert Leases(client[chronicle.name], ("sneeze_v1",)).take(VERSIONS[:2]) == VERSIONS[:1]
        one.finish(held[1:])
    assert VERSIONS[1] in Leases(chronicle, ("sneeze_v1",)).abandoned()


def test_what_a_killed_scan_held_comes_first_though_progress_has_passed_it(chronicle: Db) -> None:
    for name in ("a", "b", "c"):
        save_conversation(chronicle, name)
    killed = Leases(chronicle, CHIME.values(), lease_time=timedelta(seconds=-1))
    drawn = iter(Work(chronicle, CHIME, killed, limit=None))
    assert next(drawn).conversation_id == "c"
    save_conversation(chronicle, "new")
    assert work_of(chronicle)[0] == "c"


def test_answered_and_deleted_versions_of_a_killed_scan_are_let_go(chronicle: Db) -> None:
    save_conversation(chronicle, "answered", flag="verified")
    save_conversation(chronicle, "deleted", deleted=True)
    save_conversation(chronicle, "heard")
    write_results(chronicle, [heard("heard", 0.2)])
    held = [PendingVersion(name, "v1") for name in ("answered", "deleted", "heard", "gone")]
    Leases(chronicle, ADAPTERS, lease_time=timedelta(seconds=-1)).take(held)
    assert work_of(chronicle) == []
    assert chronicle[EVENT_SCAN_LEASES].count_documents({}) == 0


def test_scans_that_draw_at_the_same_time_share_all_work_and_nothing_twice(chronicle: Db, mongodb_uri: str) -> None:
    names = {f"c{number}" for number in range(60)}
    for name in names:
        save_conversation(chronicle, name)
    start = Barrier(4)
    taken: list[list[str]] = [[] for _ in range(4)]

    def scan(number: int) -> None:
        database = connect(mongodb_uri, chronicle.name)
        start.wait()
        with Leases(database, CHIME.values()) as leases:
            for version in Work(database, CHIME, leases, limit=None):
                taken[number].append(version.conversation_id)
                write_results(database, [heard(version.conversation_id, 0.1)])
                leases.finish([version])
        database.client.close()

    threads = [Thread(target=scan, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for names in taken for name in names) == sorted(names)
    assert sum(bool(names) for names in taken) > 1
