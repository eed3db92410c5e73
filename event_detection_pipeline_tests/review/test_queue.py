"""The queue: nobody gets a card that somebody else is looking at, and nothing is lost."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from event_detection_pipeline.review.cards import Card, Key
from event_detection_pipeline.review.queue import LEASE_SECONDS, Queue


class Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def card(name: str, score: float = 0.9, event: str = "event") -> Card:
    return Card(Key(name, "v1", event), "event_v1", score, 0.5, None, None)


def names(cards: list[Card]) -> list[str]:
    return [card.key.conversation_id for card in cards]


def test_two_people_never_hold_the_same_card():
    queue = Queue(lambda: [card(name) for name in "abc"], "uncertain", Clock())
    first, second = queue.take("ada", 2), queue.take("ben", 2)
    assert (names(first), names(second)) == (["a", "b"], ["c"])
    assert queue.take("cyd", 1) == []


def test_asking_again_gives_the_same_cards_and_keeps_them():
    clock = Clock()
    queue = Queue(lambda: [card(name) for name in "abc"], "uncertain", clock)
    queue.take("ada", 2)
    for clock.now in (50.0, 100.0, 150.0):
        assert names(queue.take("ada", 2)) == ["a", "b"]
    assert names(queue.take("ben", 3)) == ["c"]


def test_an_expired_lease_comes_back():
    clock = Clock()
    queue = Queue(lambda: [card("a")], "uncertain", clock)
    queue.take("ada", 1)
    clock.now = LEASE_SECONDS
    assert names(queue.take("ben", 1)) == ["a"]


def test_a_skipped_card_goes_to_others_and_comes_back_when_asked_for():
    queue = Queue(lambda: [card("a"), card("b")], "uncertain", Clock())
    queue.take("ada", 1)
    queue.skip("ada", card("a").key)
    assert names(queue.take("ada", 2)) == ["b"]
    assert queue.skipped("ada") == 1
    assert names(queue.take("ben", 1)) == ["a"]
    queue.skip("ben", card("a").key)
    queue.unskip("ada")
    assert sorted(names(queue.take("ada", 2))) == ["a", "b"]


def test_an_answered_card_does_not_come_back_from_an_older_reading():
    clock = Clock()
    queue = Queue(list, "uncertain", clock)
    queue.take("ada", 1)

    def slow_reading() -> list[Card]:
        queue.drop([card("a").key])  # answered while the database was being read
        return [card("a"), card("b")]

    queue._find = slow_reading
    clock.now = 100.0
    assert names(queue.take("ada", 2)) == ["b"]


def test_a_card_taken_back_is_the_clients_again():
    queue = Queue(lambda: [card("a"), card("b")], "uncertain", Clock())
    queue.drop([card("a").key])
    queue.take("ada", 1)
    queue.give_back("ada", card("a"))
    assert sorted(names(queue.take("ada", 2))) == ["a", "b"]
    assert queue.take("ben", 2) == []


def test_the_card_in_front_of_a_person_stays_theirs_when_the_queue_has_forgotten_who_held_it():
    queue = Queue(lambda: [card(name) for name in "abcd"], "uncertain", Clock())
    assert names(queue.take("ada", 2, current=card("c").key)) == ["c", "a"]
    assert names(queue.take("ben", 4)) == ["b", "d"]
    assert names(queue.take("ada", 1, current=card("a").key)) == ["a"]


def test_what_somebody_else_holds_or_has_answered_is_nobodys_current_card():
    queue = Queue(lambda: [card(name) for name in "abc"], "uncertain", Clock())
    queue.take("ben", 1)
    assert names(queue.take("ada", 1, current=card("a").key)) == ["b"]
    queue.drop([card("b").key])
    assert names(queue.take("ada", 1, current=card("b").key)) == ["c"]
    queue.skip("ada", card("c").key)
    assert queue.take("ada", 1, current=card("c").key) == []


def test_the_most_uncertain_or_the_newest_comes_first():
    cards = [
        card("sure", 0.99),
        card("unsure", 0.51),
        Card(Key("unknown", "v1", "event"), None, None, None, None, None),
    ]
    dated = Card(Key("new", "v1", "event"), "a", 0.7, 0.5, None, datetime(2025, 3, 1, tzinfo=UTC))
    assert names(Queue(lambda: cards, "uncertain").take("ada", 9)) == ["unsure", "sure", "unknown"]
    assert names(Queue(lambda: [*cards, dated], "newest").take("ada", 9))[0] == "new"


def test_cards_can_be_of_one_event_only():
    queue = Queue(lambda: [card("a"), card("b", event="sneeze")], "uncertain", Clock())
    assert names(queue.take("ada", 9, "sneeze")) == ["b"]
    assert queue.counts() == {"event": 1, "sneeze": 1}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "drop", "skip", "wait"]),
            st.sampled_from("xyz"),
            st.integers(1, 3),
            st.sampled_from([None, *"abcdef"]),
        ),
        max_size=40,
    )
)
def test_at_no_moment_do_two_people_hold_one_card(steps: list[tuple[str, str, int, str | None]]):
    clock, gone = Clock(), set[Key]()
    all_cards = [card(name) for name in "abcdef"]
    queue = Queue(lambda: [one for one in all_cards if one.key not in gone], "uncertain", clock)
    held: dict[Key, tuple[str, float]] = {}
    for what, client, count, current in steps:
        if what == "wait":
            clock.now += 25.0
            continue
        for taken in queue.take(client, count, current=card(current).key if current else None):
            holder, until = held.get(taken.key, (client, 0.0))
            assert holder == client or until <= clock.now
            assert taken.key not in gone
            held[taken.key] = client, clock.now + LEASE_SECONDS
        mine = [key for key, (holder, until) in held.items() if holder == client and until > clock.now]
        if what == "drop" and mine:
            gone.add(mine[0])
            queue.drop(mine[:1])
        if what == "skip" and mine:
            queue.skip(client, mine[0])
            del held[mine[0]]
