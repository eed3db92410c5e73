"""Figures of people's answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.database import Database

from event_detection_pipeline.review.answers import record, withdraw
from event_detection_pipeline.review.metrics import iso_week, review_metrics
from event_detection_pipeline.review.reviews import Answer, Said
from event_detection_pipeline_tests.review.flags import add_flagged

Db = Database[dict[str, Any]]


def flag_and_answer(database: Db, answer: Said | None, **fields: Any) -> str:
    conversation = add_flagged(database, chunks=[], **fields)
    if answer:
        record(
            database, Answer(conversation, f"{conversation}-v1", answer, "ada"), configured=["event"], copy_audio=False
        )
    return conversation


def test_rates_are_shares_of_what_was_reviewed(database: Db):
    answers: list[Said | None] = ["rejected", "accepted", "accepted", "accepted", None, None]
    for answer in answers:
        flag_and_answer(database, answer, adapter="event_v2")
    overall, week = review_metrics(database, 0.95)
    assert (overall.adapter, overall.week, week.week) == ("event_v2", None, "2025-W09")
    assert (overall.popups, overall.accepted, overall.rejected, overall.pending) == (6, 3, 1, 2)
    assert overall.false_positive_rate.value == 0.25
    assert overall.true_positive_rate.value == 0.75
    # Wilson's interval of 1 of 4 (Newcombe 1998, Stat. Med. 17:857).
    assert overall.false_positive_rate.low == pytest.approx(0.0456, abs=1e-4)
    assert overall.false_positive_rate.high == pytest.approx(0.6994, abs=1e-4)


def test_each_adapter_and_week_is_counted_by_itself(database: Db):
    day = datetime(2025, 3, 1, tzinfo=UTC)
    flag_and_answer(database, "accepted", adapter="event_v1", scanned_at=day)
    flag_and_answer(database, "rejected", adapter="event_v1", scanned_at=day + timedelta(days=7))
    flag_and_answer(database, None, adapter="event_v2", scanned_at=day)
    rows = {
        (row.adapter, row.week): (row.accepted, row.rejected, row.pending) for row in review_metrics(database, 0.95)
    }
    assert rows == {
        ("event_v1", None): (1, 1, 0),
        ("event_v1", "2025-W09"): (1, 0, 0),
        ("event_v1", "2025-W10"): (0, 1, 0),
        ("event_v2", None): (0, 0, 1),
        ("event_v2", "2025-W09"): (0, 0, 1),
    }


def test_an_answer_counts_for_the_adapter_that_the_person_heard(database: Db):
    conversation = flag_and_answer(database, "rejected", adapter="event_v1")
    database["event_scans"].update_one({"conversation_id": conversation}, {"$set": {"adapter": "event_v2"}})
    assert {row.adapter for row in review_metrics(database, 0.95)} == {"event_v1"}


def test_a_flag_that_no_scan_set_counts_without_an_adapter(database: Db):
    flag_and_answer(database, "accepted", event=None)
    row = review_metrics(database, 0.95)[0]
    assert (row.adapter, row.popups, row.accepted) == ("none", 1, 1)


def test_an_answer_taken_back_is_pending_again(database: Db):
    conversation = flag_and_answer(database, "rejected")
    withdraw(database, conversation, f"{conversation}-v1", "event", revision=1, reviewer="ada")
    row = review_metrics(database, 0.95)[0]
    assert (row.pending, row.rejected, row.false_positive_rate.value) == (1, 0, None)
    assert row.oldest_pending_days is not None and row.oldest_pending_days > 1


def test_nothing_flagged_gives_no_rows(database: Db):
    assert review_metrics(database, 0.95) == []


@pytest.mark.parametrize(
    ("day", "week"), [((2024, 12, 30), "2025-W01"), ((2021, 1, 3), "2020-W53"), ((2025, 3, 3), "2025-W10")]
)
def test_weeks_are_iso_weeks(day: tuple[int, int, int], week: str):
    assert iso_week(datetime(*day, 12, tzinfo=UTC)) == week
