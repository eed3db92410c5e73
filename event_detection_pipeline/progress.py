"""Progress of a long stage as log lines: how far, how long still; in the terminal and in Dagster's event log alike."""

import logging
import time
from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total) as often as the work likes."""

INTERVAL_SECONDS = 5.0  # between two lines: seen to be alive, without flooding an event log that is never pruned


def log_progress(logger: logging.Logger, stage: str, *, clock: Callable[[], float] = time.monotonic) -> Progress:
    """A Progress that logs `stage: 40/120, 35 s left` at most every INTERVAL_SECONDS, and always the last step."""
    started = last = clock()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = clock()
        if done < total and now - last < INTERVAL_SECONDS:
            return
        last = now
        elapsed = now - started
        if done >= total:
            logger.info("%s: %d/%d, done in %s", stage, done, total, seconds(elapsed))
        else:
            left = seconds(elapsed / done * (total - done)) if done else "unknown time"
            logger.info("%s: %d/%d, %s left", stage, done, total, left)

    return report


def seconds(duration: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(duration)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
