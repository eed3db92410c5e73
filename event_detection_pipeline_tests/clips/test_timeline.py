"""Words of the text get the times of the recogniser's, also where people changed the text."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.chronicle.documents import Segment, Word
from event_detection_pipeline.clips.text import join
from event_detection_pipeline.clips.timeline import Timeline, from_segments, from_words, insert_event, locate_event

TAG = "<sneeze>"


def spoken(text: str, start: float = 0.0, seconds: float = 0.5) -> list[Word]:
    return [Word(word, start + n * seconds, start + (n + 0.8) * seconds) for n, word in enumerate(text.split())]


def tags(timeline: Timeline | None) -> list[tuple[float, float]]:
    assert timeline is not None
    return [(round(token.start, 3), round(token.end, 3)) for token in timeline.tokens if token.is_tag]


@given(st.lists(st.sampled_from(["well,", "Oh", "dear!", "no", TAG]), min_size=1, max_size=30), st.data())
def test_the_text_is_kept_and_its_words_stay_in_order(pieces: list[str], data):
    words = [Word(piece.strip("!,").lower(), n * 0.5, n * 0.5 + 0.4) for n, piece in enumerate(pieces) if piece != TAG]
    words = [word for word in words if data.draw(st.integers(0, 9)) > 0]  # some the recogniser missed
    timeline = from_words(" ".join(pieces), words, TAG, len(pieces) * 0.5)
    if timeline is None:
        return
    assert join(token.text for token in timeline.tokens) == " ".join(pieces)
    assert all(token.start <= token.end for token in timeline.tokens)
    starts = [token.start for token in timeline.tokens if not token.is_tag]
    assert starts == sorted(starts)


def test_a_tag_without_a_time_may_be_anywhere_in_its_pause():
    words = [*spoken("well I", start=3.0), *spoken("excuse me", start=6.0)]
    assert tags(from_words(f"Well, I {TAG} excuse me", words, TAG, 10.0)) == [(2.9, 7.0)]


def test_a_tag_that_the_recogniser_timed_keeps_its_time():
    words = [*spoken("well"), Word(TAG, 3.0, 3.5), *spoken("dear", start=5.0)]
    assert tags(from_words(f"well {TAG} dear", words, TAG, 6.0)) == [(3.0, 3.5)]


def test_a_text_that_repeats_itself_keeps_all_its_words_times_around_a_tag():
    timeline = from_words(f"no no {TAG} no no no no", spoken("no no no no no no"), TAG, 3.0)
    assert timeline is not None
    assert [token.start for token in timeline.tokens if not token.is_tag] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_words_of_another_text_give_no_times():
    assert from_words("something else entirely", spoken("well oh dear no"), TAG, 3.0) is None
    assert from_words("well", [Word("well", None, None)], TAG, 3.0) is None
    assert from_words("well", [], TAG, 3.0) is None


def test_a_few_timed_words_among_many_are_not_trusted():
    words = [*spoken("oh dear"), *[Word(text, None, None) for text in ("well", "I", "never")]]
    assert from_words("oh dear", words, TAG, 3.0) is None


times = st.none() | st.floats(-2, 20) | st.sampled_from([1e9, -1.0])


@given(st.lists(st.tuples(st.sampled_from(["oh", "dear", TAG]), times, times), max_size=12), st.floats(0.5, 15))
def test_no_times_whatever_a_recogniser_wrote_lead_out_of_the_conversation(said, seconds: float):
    words = [Word(text, start, end) for text, start, end in said]
    segments = [Segment(start, end, text) for text, start, end in said]
    text = " ".join(text for text, _, _ in said)
    for timeline in (from_words(text, words, TAG, seconds), from_segments(text, segments, TAG, seconds)):
        for token in timeline.tokens if timeline else ():
            assert 0 <= token.start <= token.end <= 22


def test_a_word_that_swallowed_a_silence_is_cut_short():
    words = [Word("well", 0.0, 60.0), *spoken("oh dear", start=61.0)]
    timeline = from_words("well oh dear", words, TAG, 70.0)
    assert timeline is not None
    assert timeline.tokens[0].end == 3.0


def test_an_untimed_word_follows_the_one_before():
    timeline = from_words("oh dear me", [*spoken("oh dear")], TAG, 100.0)
    assert timeline is not None
    assert timeline.tokens[2].end < 2.0


def test_segments_stay_in_one_piece():
    segments = [Segment(1.0, 4.0, "well oh dear"), Segment(5.0, 8.0, "I sneezed"), Segment(None, None, "[noise]")]
    timeline = from_segments(f"Well, oh dear. {TAG} I sneezed.", segments, TAG, 10.0)
    assert timeline is not None
    assert timeline.segments == ((1.0, 4.0), (5.0, 8.0))
    assert (1.0, 4.0) in timeline.solid
    assert tags(timeline) == [(3.0, 6.0)]


def test_a_known_moment_moves_the_tag_nearby():
    timeline = from_words(f"well {TAG} dear", [*spoken("well"), *spoken("dear", start=9.0)], TAG, 20.0)
    assert timeline is not None
    located = locate_event(timeline, 4.0, 6.0)
    assert tags(located) == [(4.0, 6.0)]
    assert locate_event(timeline, 17.0, 19.0) is None


def test_of_two_tags_nearby_the_nearer_one_is_moved():
    words = [*spoken("well"), Word(TAG, 1.0, 1.4), *spoken("dear", start=2.0), Word(TAG, 3.0, 3.4)]
    timeline = from_words(f"well {TAG} dear {TAG}", words, TAG, 6.0)
    assert timeline is not None
    assert tags(locate_event(timeline, 3.5, 4.5)) == [(1.0, 1.4), (3.5, 4.5)]


def test_an_event_is_inserted_between_the_words_around_it():
    timeline = from_words("well oh dear", [*spoken("well oh"), *spoken("dear", start=5.0)], TAG, 8.0)
    assert timeline is not None
    for middle, text in [(3.0, f"well oh {TAG} dear"), (0.1, f"{TAG} well oh dear"), (7.0, f"well oh dear {TAG}")]:
        inserted = insert_event(timeline, TAG, middle - 0.05, middle + 0.05)
        assert join(token.text for token in inserted.tokens) == text


def test_two_hours_of_words_are_aligned_quickly():
    random = Random(0)
    # Few words make up most of what is said, as in language.
    said = [f"word{int(3000 * random.random() ** 4)}" for _ in range(20_000)]
    words = [Word(word, n * 0.36, n * 0.36 + 0.3) for n, word in enumerate(said)]
    edited = [*said[:9000], TAG, *said[9000:-1], "corrected"]
    timeline = from_words(" ".join(edited), words, TAG, 7200.0)
    assert timeline is not None
    assert abs(tags(timeline)[0][0] - (9000 * 0.36 - 0.06 - 1)) < 0.01


def test_an_event_after_the_last_word_ends_with_the_audio() -> None:
    timeline = from_words("good morning <chime>", [Word("good", 0.5, 1.0), Word("morning", 1.0, 1.5)], "<chime>", 4.0)
    assert timeline is not None
    assert timeline.tokens[-1].is_tag
    assert timeline.tokens[-1].end == 4.0
