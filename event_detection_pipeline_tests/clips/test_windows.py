"""Windows tile a recording and never part what is solid."""

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.clips.windows import cut

# (pause, word) lengths in hundredths of a second, so that words may touch and positions are exact enough.
speech = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200)), max_size=120)


def words_of(parts: list[tuple[int, int]]) -> tuple[list[tuple[float, float]], float]:
    edges = list(accumulate((length for part in parts for length in part), initial=0))
    words = [(start / 100, end / 100) for start, end in zip(edges[1::2], edges[2::2], strict=True)]
    return words, edges[-1] / 100


@given(speech, st.integers(0, 6000), st.sampled_from([5.0, 12.0, 30.0]))
def test_windows_tile_the_audio_cut_no_word_and_are_never_too_long(parts, silence: int, target: float):
    words, seconds = words_of(parts)
    seconds += silence / 100
    windows = cut(seconds, words, target=target, longest=30.0)
    assert [windows[0].start, windows[-1].end] == [0.0, seconds] if seconds else windows == []
    assert all(one.end == other.start for one, other in pairwise(windows))
    assert all(0 < window.seconds <= 30.0 + 1e-9 for window in windows)
    for window in windows[:-1]:
        assert not any(start < window.end < end for start, end in words)


@given(speech)
def test_every_word_lies_in_exactly_one_window(parts):
    words, seconds = words_of(parts)
    windows = cut(seconds, words, target=12.0, longest=30.0)
    for start, end in words:
        assert sum(window.start <= start + 1e-9 and end <= window.end + 1e-9 for window in windows) == 1


@given(speech)
def test_overlapping_speech_is_not_cut_either(parts):
    words, seconds = words_of(parts)
    overlapping = words + [(start, min(end + 0.8, seconds)) for start, end in words[::2]]
    for window in cut(seconds, overlapping, target=12.0, longest=30.0)[:-1]:
        assert not any(start < window.end < end for start, end in overlapping)


def test_long_recordings_are_cut_near_the_target():
    words = [(second + 0.1, second + 0.6) for second in range(600)]
    lengths = [window.seconds for window in cut(600.0, words, target=12.0, longest=30.0)]
    assert 10 < sum(lengths) / len(lengths) < 14
    assert max(lengths) <= 18


def test_a_pause_is_preferred_to_a_gap_between_words():
    words = [(0.5 * number, 0.5 * number + 0.5) for number in range(20)]
    words += [(12.0 + 0.5 * number, 12.5 + 0.5 * number) for number in range(40)]
    first, *_ = cut(32.0, words, target=12.0, longest=30.0)
    assert 10.0 < first.end < 12.0


def test_what_leaves_no_place_to_cut_is_one_long_window():
    windows = cut(100.0, [(5.0, 60.0)], target=12.0, longest=30.0)
    assert [window for window in windows if window.seconds > 30.0]
    assert not any(5.0 < window.end < 60.0 for window in windows)


def test_nothing_becomes_no_window():
    assert cut(0.0, [], target=12.0, longest=30.0) == []
