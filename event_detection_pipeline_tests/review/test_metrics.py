"""Figures of people's answers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pymongo.database import Database

from event_detection_pipeline.review.answers import record, withdraw
from event_detection_pipeline.review.cards import find_cards
from event_detection_pipeline.review.drift import answers_to, find_drift
from event_detection_pipeline.review.metrics import iso_week, leaderboard, review_metrics
from event_detection_pipeline.review.plots import false_positives_by_week
from event_detection_pipeline.review.reviews import Answer, Said
from event_detection_pipeline.review.tables import write_tables
from event_detection_pipeline.scan.results import VersionScore, write_results
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
    overall, week = review_metrics(database, ["event"], 0.95)
    assert (overall.adapter, overall.week, week.week) == ("event_v2", None, "2025-W09")
    assert (overall.popups, overall.accepted, overall.rejected, overall.pending) == (6, 3, 1, 2)
    assert overall.false_positive_rate.value == 0.25
    assert overall.true_positive_rate.value == 0.75
    # Wilson's interval of 1 of 4 (Newcombe 1998, Stat. Med. 17:857).
    assert overall.false_positive_rate.low == pytest.approx(0.0456, abs=1e-4)
    assert overall.false_positive_rate.high == pytest.approx(0.6994, abs=1e-4)


def test_accuracy_is_the_share_of_right_decisions_among_the_reviewed(database: Db):
    flag_and_answer(database, "accepted")
    flag_and_answer(database, "rejected")
    # Answered without having been flagged by this adapter: another program's flag, which it was right to keep quiet on.
    quiet = add_flagged(database, chunks=[], score=0.2)
    answer = Answer(quiet, f"{quiet}-v1", "rejected", "ada")
    record(database, answer, configured=["event"], copy_audio=False)
    row = review_metrics(database, ["event"], 0.95)[0]
    assert row.accuracy.value == pytest.approx(2 / 3)
    assert row.true_positive_rate.value == pytest.approx(1 / 3)


def test_the_leaderboard_is_not_won_by_luck(database: Db):
    for adapter, rejected, accepted in (("event_v1", 6, 14), ("event_v2", 2, 18), ("event_v3", 0, 1)):
        for _ in range(rejected):
            flag_and_answer(database, "rejected", adapter=adapter)
        for _ in range(accepted):
            flag_and_answer(database, "accepted", adapter=adapter)
    flag_and_answer(database, None, adapter="event_v4")
    board = leaderboard(review_metrics(database, ["event"], 0.95))
    assert [row.adapter for row in board] == ["event_v2", "event_v1", "event_v3", "event_v4"]


def test_the_figures_are_read_by_pandas(database: Db, tmp_path: Path):
    flag_and_answer(database, "rejected", adapter="event_v2")
    rows = review_metrics(database, ["event"], 0.95)
    parquet, csv = write_tables(rows, tmp_path)
    for frame in (pd.read_parquet(parquet), pd.read_csv(csv)):
        assert list(frame["adapter"]) == ["event_v2", "event_v2"]
        assert frame["week"].isna().tolist() == [True, False]
        assert list(frame["false_positive_rate"]) == [1.0, 1.0]
        assert frame["false_positive_rate_low"].iloc[0] == pytest.approx(0.2065, abs=1e-4)
    write_tables([], tmp_path)
    assert pd.read_parquet(parquet).empty


def test_weeks_without_answers_draw_nothing(database: Db):
    flag_and_answer(database, None)
    figure = false_positives_by_week(review_metrics(database, ["event"], 0.95))
    assert figure.axes[0].get_legend() is None
    flag_and_answer(database, "accepted", adapter="event_v2")
    figure = false_positives_by_week(review_metrics(database, ["event"], 0.95))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2025-W09"]


def test_a_drift_is_a_rise_too_large_for_chance():
    # Fisher's exact test of 8 of 10 against 2 of 10, one-sided: 0.0115 (R: fisher.test(..., alternative = "greater")).
    drift = find_drift([True] * 2 + [False] * 8 + [True] * 8 + [False] * 2, recent=10)
    assert drift.p_value == pytest.approx(0.0115, abs=1e-4)
    assert not drift.drifted
    risen = find_drift([True] * 1 + [False] * 9 + [True] * 8 + [False] * 2, recent=10)
    assert risen.drifted
    assert risen.reason.startswith("8 of the last 10 flags were false alarms, 1 of the 10 before")
    assert not find_drift([True] * 8 + [False] * 12, recent=10).drifted, "a fall is no drift"
    assert find_drift([True] * 19, recent=10).p_value is None


def test_answers_are_read_in_the_order_of_time_and_of_one_adapter(database: Db):
    flag_and_answer(database, "rejected", adapter="event_v1")
    flag_and_answer(database, "accepted", adapter="event_v2")
    flag_and_answer(database, "rejected", adapter="event_v2")
    flag_and_answer(database, None, adapter="event_v2")
    assert answers_to(database, "event_v2") == [False, True]


def test_each_adapter_and_week_is_counted_by_itself(database: Db):
    day = datetime(2025, 3, 1, tzinfo=UTC)
    flag_and_answer(database, "accepted", adapter="event_v1", scanned_at=day)
    flag_and_answer(database, "rejected", adapter="event_v1", scanned_at=day + timedelta(days=7))
    flag_and_answer(database, None, adapter="event_v2", scanned_at=day)
    rows = {
        (row.adapter, row.week): (row.accepted, row.rejected, row.pending)
        for row in review_metrics(database, ["event"], 0.95)
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
    assert {row.adapter for row in review_metrics(database, ["event"], 0.95)} == {"event_v1"}


def test_an_answer_after_one_that_was_taken_back_counts_for_the_adapter_that_flagged_since(database: Db):
    conversation = flag_and_answer(database, "accepted", adapter="event_v1")
    version = f"{conversation}-v1"
    withdraw(database, conversation, version, "event", revision=1, reviewer="ada")
    write_results(database, [VersionScore(conversation, version, "event", "event_v2", 0.99, 0.7, 2.0)])
    record(database, Answer(conversation, version, "rejected", "ada"), configured=["event"], copy_audio=False)
    assert {(row.adapter, row.rejected) for row in review_metrics(database, ["event"], 0.95)} == {("event_v2", 1)}


def test_a_flag_that_no_scan_set_counts_without_an_adapter(database: Db):
    flag_and_answer(database, "accepted", event=None)
    row = review_metrics(database, ["event"], 0.95)[0]
    assert (row.adapter, row.popups, row.accepted) == ("none", 1, 1)


def test_what_nobody_can_answer_any_more_is_not_pending(database: Db):
    flags = [flag_and_answer(database, None) for _ in range(5)]
    waiting, deleted, anew, elsewhere, gone = ({"conversation_id": id_} for id_ in flags)
    database["conversations"].update_one(deleted, {"$set": {"deleted": True}})
    database["conversations"].update_one(anew, {"$set": {"active_transcript_version": "another"}})
    verified = {"transcript_versions.0.maybe_anomaly": "verified"}
    database["conversations"].update_one(elsewhere, {"$set": verified})
    database["conversations"].delete_one(gone)
    shown = {card.key.conversation_id for card in find_cards(database, ["event"], also=flags)}
    assert shown == set(waiting.values())
    row = review_metrics(database, ["event"], 0.95)[0]
    assert (row.popups, row.pending) == (1, 1)
    database["conversations"].update_one(waiting, {"$set": {"deleted": True}})
    assert review_metrics(database, ["event"], 0.95) == []


def test_an_answer_taken_back_is_pending_again(database: Db):
    conversation = flag_and_answer(database, "rejected")
    withdraw(database, conversation, f"{conversation}-v1", "event", revision=1, reviewer="ada")
    row = review_metrics(database, ["event"], 0.95)[0]
    assert (row.pending, row.rejected, row.false_positive_rate.value) == (1, 0, None)
    assert row.oldest_pending_days is not None and row.oldest_pending_days > 1


def test_nothing_flagged_gives_no_rows(database: Db):
    assert review_metrics(database, ["event"], 0.95) == []


@pytest.mark.parametrize(
    ("day", "week"), [((2024, 12, 30), "2025-W01"), ((2021, 1, 3), "2020-W53"), ((2025, 3, 3), "2025-W10")]
)
def test_weeks_are_iso_weeks(day: tuple[int, int, int], week: str):
    assert iso_week(datetime(*day, 12, tzinfo=UTC)) == week
