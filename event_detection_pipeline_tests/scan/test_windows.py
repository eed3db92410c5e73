"""Windows of a recording: they tile it and each has its words."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.chronicle.database import ChronicleUnavailable, connect
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings
from event_detection_pipeline.scan.pending import PendingVersion
from event_detection_pipeline.scan.windows import cut, cut_stream, version_windows
from event_detection_pipeline_tests.faults.server import Server

NOT_WRITABLE_PRIMARY = 10107  # MongoDB's error code

CLIPS = ClipSettings()


def words(count: int, every: float = 0.5) -> list[Word]:
    return [Word(f"w{i}", i * every, i * every + 0.3) for i in range(count)]


def test_a_short_recording_is_one_window_with_all_words() -> None:
    (window,) = cut(np.zeros(5 * SAMPLE_RATE, np.float32), words(9), CLIPS)
    assert window.words is not None
    assert (window.start, window.end, len(window.words)) == (0.0, 5.0, 9)


def test_words_without_times_stay_together() -> None:
    (window,) = cut(np.zeros(20 * SAMPLE_RATE, np.float32), [Word("hello", None, None)], CLIPS)
    assert window.words == (Word("hello", None, None),)


def test_nobody_transcribed_is_not_the_same_as_nothing_said() -> None:
    silence = np.zeros(40 * SAMPLE_RATE, np.float32)
    assert all(window.words is None for window in cut(silence, None, CLIPS))
    assert all(window.words == () for window in cut(silence, [], CLIPS))


@given(st.floats(0.5, 200.0), st.integers(0, 300), st.booleans())
def test_windows_tile_the_recording_and_lose_no_word(seconds: float, count: int, one_endless_word: bool) -> None:
    samples = np.arange(round(seconds * SAMPLE_RATE), dtype=np.float32)
    said = [word for word in words(count) if word.end is not None and word.end < seconds]
    if one_endless_word and said:
        said[0] = Word("aaa", 0.0, seconds)
    windows = cut(samples, said, CLIPS)
    assert np.array_equal(np.concatenate([window.samples for window in windows]), samples)
    assert all(len(window.samples) <= CLIPS.max_seconds * SAMPLE_RATE for window in windows)
    assert [word for window in windows for word in window.words or ()] == said


@given(
    st.lists(st.floats(0.0, 70.0), max_size=4),
    st.sampled_from([(12.0, 30.0), (30.0, 30.0), (12.0, 5.0), (20.0, 25.0)]),
)
def test_a_recording_that_comes_in_pieces_is_cut_as_a_whole_one(
    pieces: list[float], lengths: tuple[float, float]
) -> None:
    clips = ClipSettings(target_seconds=lengths[0], max_seconds=lengths[1])
    parts = [np.full(round(seconds * SAMPLE_RATE), number, np.float32) for number, seconds in enumerate(pieces)]
    whole = np.concatenate([np.zeros(0, np.float32), *parts])
    expected, found = cut(whole, None, clips), list(cut_stream(parts, clips))
    assert [round(window.start, 6) for window in found] == [round(window.start, 6) for window in expected]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(found, expected, strict=True))


def test_a_window_is_given_before_the_recording_ends() -> None:
    drawn = []

    def pieces() -> Iterator[np.ndarray]:
        for number in range(100):
            drawn.append(number)
            yield np.zeros(30 * SAMPLE_RATE, np.float32)

    next(cut_stream(pieces(), CLIPS))
    assert len(drawn) == 2


def test_what_is_left_of_a_long_recording_is_not_copied_for_each_window() -> None:
    samples = np.ones(200 * SAMPLE_RATE, np.float32)
    tracemalloc.start()
    cut(samples, None, CLIPS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * samples.nbytes  # the windows themselves


def test_a_server_that_answers_and_refuses_again_and_again_is_not_asked_for_ever(tmp_path: Path):
    with Server(tmp_path) as server:
        database = connect(f"{server.uri}/?directConnection=true&heartbeatFrequencyMS=500", "chronicle")
        windows = version_windows(database, PendingVersion("c", "v"), ClipSettings())
        with (
            server.refusing(["find"], after=0, code=NOT_WRITABLE_PRIMARY),
            pytest.raises(ChronicleUnavailable, match="not the primary"),
        ):
            next(windows)
