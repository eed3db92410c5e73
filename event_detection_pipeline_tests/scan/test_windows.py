"""Windows of a recording: they tile it and each has its words."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import ChronicleUnavailable, connect
from event_detection_pipeline.chronicle.documents import Word
from event_detection_pipeline.clips.timeline import Timeline, Token
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings
from event_detection_pipeline.scan.pending import PendingVersion
from event_detection_pipeline.scan.windows import cut, cut_stream, version_windows
from event_detection_pipeline_tests.faults.server import Server
from event_detection_pipeline_tests.household import add_conversation

Db = Database[dict[str, Any]]

NOT_WRITABLE_PRIMARY = 10107  # MongoDB's error code

CLIPS = ClipSettings()


def spoken(count: int, every: float = 0.5) -> list[Token]:
    return [Token(f"w{i} ", i * every, i * every + 0.3) for i in range(count)]


def test_a_short_recording_is_one_window_with_all_words() -> None:
    (window,) = cut(np.zeros(5 * SAMPLE_RATE, np.float32), Timeline(tuple(spoken(9))), CLIPS)
    assert window.words is not None
    assert (window.start, window.end, len(window.words)) == (0.0, 5.0, 9)


def test_words_without_times_stay_together() -> None:
    (window,) = cut(np.zeros(20 * SAMPLE_RATE, np.float32), (Word("hello", None, None),), CLIPS)
    assert window.words == (Word("hello", None, None),)


def test_a_script_without_spaces_is_fed_as_training_writes_it() -> None:
    tokens = (Token("今", 0.0, 0.2), Token("日", 0.2, 0.4), Token("は ", 0.4, 0.6), Token("晴", 0.7, 0.8))
    (window,) = cut(np.zeros(5 * SAMPLE_RATE, np.float32), Timeline(tokens), CLIPS)
    assert window.words == (Word("今日は", 0.0, 0.6), Word("晴", 0.7, 0.8))


SAID = [{"word": f"w{i}", "start": i * 0.5, "end": i * 0.5 + 0.4} for i in range(120)]
TEXT = " ".join(str(word["word"]) for word in SAID)
ONE_UNTIMED = [word | ({"start": None, "end": None} if word["word"] == "w50" else {}) for word in SAID]
IN_SEGMENTS = [
    {"start": i / 2, "end": i / 2 + 9, "text": " ".join(str(word["word"]) for word in SAID[i : i + 20])}
    for i in range(0, 120, 20)
]


@pytest.mark.parametrize(
    "version",
    [
        {"transcript": TEXT, "words": SAID},
        {"transcript": TEXT, "words": ONE_UNTIMED},
        {"transcript": TEXT, "segments": IN_SEGMENTS},
        {"transcript": None, "segments": IN_SEGMENTS},
        {"transcript": None, "words": SAID},
        {"transcript": "a summary that nobody said", "words": SAID},
    ],
)
def test_what_has_times_in_any_form_is_fed_in_full(database: Db, version: dict[str, Any]) -> None:
    conversation = add_conversation(database, seconds=60.0, **version)
    windows = list(version_windows(database, PendingVersion(conversation, f"{conversation}-v1"), CLIPS))
    assert len(windows) > 2
    assert " ".join(word.text for window in windows for word in window.words or ()) == TEXT
    outside = [w for one in windows for w in one.words or () if not one.start <= (w.start or 0.0) < one.end]
    assert not outside


def test_a_corrected_text_is_what_the_decoder_reads(database: Db) -> None:
    conversation = add_conversation(database, seconds=60.0, transcript=TEXT.replace("w50 ", "fifty "), words=SAID)
    windows = version_windows(database, PendingVersion(conversation, f"{conversation}-v1"), CLIPS)
    assert [w.start for one in windows for w in one.words or () if w.text == "fifty"] == [pytest.approx(24.9, abs=0.5)]


def test_nobody_transcribed_is_not_the_same_as_nothing_said() -> None:
    silence = np.zeros(40 * SAMPLE_RATE, np.float32)
    assert all(window.words is None for window in cut(silence, None, CLIPS))
    assert all(window.words == () for window in cut(silence, Timeline(()), CLIPS))


@given(st.floats(0.5, 200.0), st.integers(0, 300), st.booleans())
def test_windows_tile_the_recording_and_lose_no_word(seconds: float, count: int, one_endless_word: bool) -> None:
    samples = np.arange(round(seconds * SAMPLE_RATE), dtype=np.float32)
    said = [token for token in spoken(count) if token.end < seconds]
    if one_endless_word and said:
        said[0] = Token("aaa ", 0.0, seconds)
    windows = cut(samples, Timeline(tuple(said)), CLIPS)
    assert np.array_equal(np.concatenate([window.samples for window in windows]), samples)
    assert all(len(window.samples) <= CLIPS.max_seconds * SAMPLE_RATE for window in windows)
    heard = [Token(f"{word.text} ", word.start or 0.0, word.end or 0.0) for one in windows for word in one.words or ()]
    assert heard == said


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
