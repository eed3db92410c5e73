"""Progress lines are few, and say how long still."""

import logging

import pytest

from event_detection_pipeline.progress import INTERVAL_SECONDS, log_progress, seconds


def test_lines_come_at_most_once_an_interval_and_always_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    with caplog.at_level(logging.INFO):
        report = log_progress(logging.getLogger("event_detection_pipeline.test"), "work", clock=lambda: now)
        for done in range(1, 101):
            now += INTERVAL_SECONDS / 10
            report(done, 100)
    assert len(caplog.messages) == 10
    assert caplog.messages[0] == "work: 10/100, 45 s left"
    assert caplog.messages[-1] == "work: 100/100, done in 50 s"


def test_no_work_at_all_is_done_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_progress(logging.getLogger("event_detection_pipeline.test"), "work", clock=lambda: 1.0)(0, 0)
    assert caplog.messages == ["work: 0/0, done in 0 s"]


@pytest.mark.parametrize(
    ("duration", "text"), [(0.4, "0 s"), (59.4, "59 s"), (125, "2 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_read_as_people_say_them(duration: float, text: str) -> None:
    assert seconds(duration) == text
