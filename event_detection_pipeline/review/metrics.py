"""How good the flags are in people's ears: rates by adapter and by week, from `event_scans` and `event_reviews`."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from event_detection_pipeline.adapters.metrics import Estimate, proportion
from event_detection_pipeline.chronicle.database import EVENT_REVIEWS, EVENT_SCANS
from event_detection_pipeline.chronicle.documents import parse_date
from event_detection_pipeline.review.cards import find_cards, find_unanswered, key_of

NO_ADAPTER = "none"  # flagged by another program: no scan says which adapter heard it


@dataclass(frozen=True, slots=True)
class ReviewMetrics:
    """What people said of an adapter's flags.

    Attributes:
        adapter: such as sneeze_v3, or "none".
        week: ISO week of the flags, such as 2025-W09 (UTC); None for all weeks together.
        popups: flags that were answered or can be. What was deleted or transcribed anew before anybody answered is not
            among them; `accepted`, `rejected` and `pending` add up to it.
        oldest_pending_days: age of the flag that has waited longest, None where none waits.
        false_positive_rate: rejected / reviewed, with Wilson's interval.
        true_positive_rate: accepted / reviewed (precision among the reviewed), with Wilson's interval.
        accuracy: share of the reviewed where the adapter's decision, score against threshold, is what the person said.
            Only what was flagged is shown to people, so it says nothing of the events that an adapter missed.
    """

    event: str
    adapter: str
    week: str | None
    popups: int
    accepted: int
    rejected: int
    pending: int
    oldest_pending_days: float | None
    false_positive_rate: Estimate
    true_positive_rate: Estimate
    accuracy: Estimate

    @property
    def reviewed(self) -> int:
        return self.accepted + self.rejected


@dataclass(frozen=True, slots=True)
class _Popup:
    event: str
    adapter: str
    at: datetime | None
    answer: str | None = None
    flagged: bool = True

    @property
    def right(self) -> bool:
        return self.flagged == (self.answer == "accepted")


def review_metrics(database: Database[dict[str, Any]], events: Sequence[str], confidence: float) -> list[ReviewMetrics]:
    """One row for each adapter over all weeks, then one for each of its weeks, oldest first.

    Args:
        events: names of the configured events; the first stands in where no scan says what was heard.
        confidence: of the intervals, such as 0.95.
    """
    now = datetime.now(UTC)
    groups: defaultdict[tuple[str, str, str], list[_Popup]] = defaultdict(list)
    for popup in _popups(database, events):
        groups[popup.event, popup.adapter, ""].append(popup)
        if popup.at:
            groups[popup.event, popup.adapter, iso_week(popup.at)].append(popup)
    return [_row(*key, groups[key], confidence, now) for key in sorted(groups)]


def leaderboard(rows: Iterable[ReviewMetrics]) -> list[ReviewMetrics]:
    """The versions of each event, best first: by the upper bound of the false positive rate, so that few answers win
    nothing by luck; those that nobody has answered come last."""
    overall = [row for row in rows if row.week is None]
    return sorted(overall, key=lambda row: (row.event, _or_last(row.false_positive_rate.high), row.adapter))


def _or_last(value: float | None) -> float:
    return math.inf if value is None else value


def iso_week(moment: datetime) -> str:
    """The ISO 8601 week of a moment: the first days of January can belong to the last week of the year before."""
    year, week, _ = moment.astimezone(UTC).isocalendar()
    return f"{year}-W{week:02}"


def _popups(database: Database[dict[str, Any]], events: Sequence[str]) -> Iterator[_Popup]:
    """Every answer, and every flag that waits for one.

    An answer keeps the adapter whose score the person saw, also when a later scan has replaced that score.
    """
    cards = find_cards(database, events, also=find_unanswered(database))
    unused = {"history": 0, "transcript": 0}
    reviews = {key_of(review): review for review in database[EVENT_REVIEWS].find({"answer": {"$ne": None}}, unused)}
    scans = database[EVENT_SCANS].find({"flagged": True}, {"times": 0})
    scanned_at = {key_of(scan): parse_date(scan.get("scanned_at")) for scan in scans}
    for card in cards:
        if card.key not in reviews:  # answered just now
            yield _Popup(card.key.event, card.adapter or NO_ADAPTER, scanned_at.get(card.key))
    for key, review in reviews.items():
        at = scanned_at.get(key) or parse_date(review.get("reviewed_at"))
        score, threshold = review.get("score"), review.get("threshold")
        flagged = score is None or threshold is None or score >= threshold
        yield _Popup(key.event, str(review.get("adapter") or NO_ADAPTER), at, review["answer"], flagged)


def _row(event: str, adapter: str, week: str, popups: list[_Popup], confidence: float, now: datetime) -> ReviewMetrics:
    accepted = sum(popup.answer == "accepted" for popup in popups)
    rejected = sum(popup.answer == "rejected" for popup in popups)
    waiting = [popup.at for popup in popups if popup.answer is None and popup.at]
    return ReviewMetrics(
        event=event,
        adapter=adapter,
        week=week or None,
        popups=len(popups),
        accepted=accepted,
        rejected=rejected,
        pending=len(popups) - accepted - rejected,
        oldest_pending_days=round((now - min(waiting)).total_seconds() / 86400, 2) if waiting else None,
        false_positive_rate=proportion(rejected, accepted + rejected, confidence),
        true_positive_rate=proportion(accepted, accepted + rejected, confidence),
        accuracy=proportion(sum(popup.right for popup in popups if popup.answer), accepted + rejected, confidence),
    )
