"""When the stash sensor starts a retraining: a pure decision."""

from hypothesis import given
from hypothesis import strategies as st

from event_detection_pipeline.defs.sensors import decide

sizes = st.integers(0, 10_000)


def test_enough_new_samples_start_a_retraining_and_move_the_cursor() -> None:
    decision = decide(stash_size=70, trained_size=50, wanted=20)
    assert decision.retrain
    assert decision.trained_size == 70


def test_too_few_new_samples_wait_and_the_cursor_stays() -> None:
    decision = decide(stash_size=69, trained_size=50, wanted=20)
    assert not decision.retrain
    assert decision.trained_size == 50
    assert decision.reason == "19 new samples since the last training, 20 start one"


def test_after_a_clean_up_only_what_is_added_counts() -> None:
    decision = decide(stash_size=10, trained_size=50, wanted=20)
    assert (decision.retrain, decision.trained_size) == (False, 10)
    assert decide(stash_size=30, trained_size=decision.trained_size, wanted=20).retrain


@given(sizes, sizes, st.integers(1, 100))
def test_the_same_stash_never_starts_two_retrainings(size: int, trained: int, wanted: int) -> None:
    first = decide(size, trained, wanted)
    assert not decide(size, first.trained_size, wanted).retrain
