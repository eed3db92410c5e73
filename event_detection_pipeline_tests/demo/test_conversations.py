import itertools
from collections import Counter

import numpy as np
import pytest

from event_detection_pipeline.demo.conversations import (
    FLAWS,
    OTHER_SOUNDS,
    Composition,
    Counts,
    DemoConversation,
    compose,
)


@pytest.fixture(scope="module")
def household() -> list[DemoConversation]:
    return list(compose())


def test_the_same_seed_gives_the_same_household_and_another_seed_another():
    first, again, other = (list(itertools.islice(compose(seed), 5)) for seed in (7, 7, 8))

    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.audio, two.audio)
        assert (one.conversation_id, one.version_id, one.created_at) == (
            two.conversation_id,
            two.version_id,
            two.created_at,
        )
        assert (one.segments, one.sounds) == (two.segments, two.sounds)
    assert not {c.conversation_id for c in first} & {c.conversation_id for c in other}
    assert [c.transcript for c in first] != [c.transcript for c in other]


def test_the_household_has_the_stated_composition(household: list[DemoConversation]):
    kinds = Counter((c.role, _kind(c)) for c in household if c.flaw is None)

    assert kinds == {
        ("stash", "event"): 60,
        ("stash", "other"): 70,
        ("stash", "plain"): 50,
        ("live", "event"): 20,
        ("live", "other"): 24,
        ("live", "plain"): 36,
    }
    assert [c.flaw for c in household if c.flaw] == list(FLAWS)
    for role in ("stash", "live"):
        heard = Counter(c.sounds[0].name for c in household if c.role == role and _kind(c) == "other")
        assert set(heard) == set(OTHER_SOUNDS)
        assert max(heard.values()) - min(heard.values()) <= 1


def test_another_composition_can_be_asked_for():
    small = Composition(stash=Counts(2, 1, 0), live=Counts(1, 0, 1))

    kinds = Counter((c.role, _kind(c)) for c in compose(0, small) if c.flaw is None)

    assert kinds == {("stash", "event"): 2, ("stash", "other"): 1, ("live", "event"): 1, ("live", "plain"): 1}


def test_who_and_what_is_heard_live_was_never_heard_in_the_stash(household: list[DemoConversation]):
    roles = ("stash", "live")
    of = {role: [c for c in household if c.role == role] for role in roles}
    speakers = {role: {segment.speaker for c in of[role] for segment in c.segments} for role in roles}
    said = {role: {segment.text for c in of[role] for segment in c.segments} for role in roles}
    lengths = {role: {(s.name, round(s.end - s.start, 2)) for c in of[role] for s in c.sounds} for role in roles}

    assert len(speakers["stash"]) >= 5
    assert len(speakers["live"]) >= 3
    assert not speakers["stash"] & speakers["live"]
    assert not said["stash"] & said["live"]
    # Drawn independently, hardly any two sounds are equally long; drawn from the same stream, all would be.
    assert len(lengths["stash"] & lengths["live"]) < len(lengths["live"]) / 3


def test_conversations_are_of_household_length_and_neither_silent_nor_clipped(household: list[DemoConversation]):
    seconds = [c.seconds for c in household]

    assert 3.0 <= min(seconds) <= max(seconds) <= 25.0
    assert 8.0 < np.mean(seconds) < 10.0
    for conversation in household:
        assert np.isfinite(conversation.audio).all()
        assert 0.1 < np.abs(conversation.audio).max() <= 0.901
        assert 1 <= len(conversation.segments) <= 4
        assert 1 <= len({segment.speaker for segment in conversation.segments}) <= 2


def test_words_and_sounds_lie_inside_the_audio_in_order(household: list[DemoConversation]):
    for conversation in household:
        times = [time for word in conversation.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert times[0] >= 0.0
        assert times[-1] <= conversation.seconds
        for sound in conversation.sounds:
            assert 0.0 <= sound.start < sound.end <= conversation.seconds


def test_a_sound_is_heard_above_what_is_around_it(household: list[DemoConversation]):
    for conversation in household:
        for sound in conversation.sounds:
            first, last = round(sound.start * 16_000), round(sound.end * 16_000)
            noise = np.sqrt(np.mean(conversation.audio[: round(0.3 * 16_000)] ** 2))
            assert np.sqrt(np.mean(conversation.audio[first:last] ** 2)) > 3 * noise


def _kind(conversation: DemoConversation) -> str:
    if conversation.has_event:
        return "event"
    return "other" if conversation.sounds else "plain"
