"""Drift: does the promoted adapter raise more false alarms than it used to?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from pymongo.database import Database

from event_detection_pipeline.chronicle.database import EVENT_REVIEWS

# The check runs after each scan, not once: at the usual 0.05 it would cry wolf every few weeks.
SIGNIFICANCE = 0.01


@dataclass(frozen=True, slots=True)
class Drift:
    """The false positive rate of an adapter's last answers beside that of those before.

    `p_value` is the chance of so large a rise if nothing has changed, None where there is too little to compare.
    """

    drifted: bool
    p_value: float | None
    reason: str


def find_drift(rejected: Sequence[bool], recent: int) -> Drift:
    """Compare the last answers with those before by Fisher's exact test, one-sided (1935, J. R. Stat. Soc. 98:39).

    Args:
        rejected: for each answer to a flag of one adapter, oldest first, whether it was a false positive.
        recent: how many of the last are compared with the rest, which must be as many.
    """
    from scipy.stats import fisher_exact

    before, last = rejected[:-recent], rejected[-recent:]
    if len(before) < recent:
        return Drift(False, None, f"{len(rejected)} answers, {2 * recent} are needed to see a drift")
    table = [[sum(last), len(last) - sum(last)], [sum(before), len(before) - sum(before)]]
    _, p_value = cast(tuple[float, float], fisher_exact(table, alternative="greater"))
    reason = (
        f"{sum(last)} of the last {len(last)} flags were false alarms, {sum(before)} of the {len(before)} before "
        f"(p = {p_value:.2g})"
    )
    return Drift(bool(p_value < SIGNIFICANCE), float(p_value), reason)


def answers_to(database: Database[dict[str, Any]], adapter: str) -> list[bool]:
    """Whether each answer to a flag of an adapter was a rejection, oldest first."""
    answered = {"adapter": adapter, "answer": {"$ne": None}}
    reviews = database[EVENT_REVIEWS].find(answered, {"answer": 1}).sort("reviewed_at", 1)
    return [review["answer"] == "rejected" for review in reviews]
