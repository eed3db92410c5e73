"""The queue of cards: who is looking at which, so that no two people answer the same one.

It lives in the memory of the one process that serves the loop. What it forgets in a restart is who was looking at
what; answers are in the database.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from threading import Lock
from typing import Literal

from event_detection_pipeline.review.cards import Card, Key

Order = Literal["uncertain", "newest"]

LEASE_SECONDS = 60.0
_REFRESH_SECONDS = 30.0  # how old the queue may be; Chronicle's own popup asks this often
_REFRESH_EMPTY_SECONDS = 2.0
_SKIPS_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class _Lease:
    client: str
    until: float


class Queue:
    """Cards in order, leased for a minute to those who look at them.

    Args:
        find: all cards that wait for an answer.
        order: "uncertain" begins with scores next to their threshold, "newest" with the last recorded conversation.
        clock: seconds, monotonic.
    """

    def __init__(
        self, find: Callable[[], Sequence[Card]], order: Order, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find, self._clock = find, clock
        self._order: Order = order
        self._cards: dict[Key, Card] = {}
        self._leases: dict[Key, _Lease] = {}
        self._skipped: dict[tuple[str, Key], None] = {}
        # Answered here while a refresh was reading: its older view must not bring them back.
        self._answered: dict[Key, float] = {}
        self._refreshed = -math.inf
        self._lock = Lock()
        self._refreshing = Lock()

    def take(self, client: str, count: int, event: str | None = None, current: Key | None = None) -> list[Card]:
        """Up to `count` cards for this client: those it holds already, then the next ones; all leased for a minute.

        Args:
            current: the card in front of the person. While it waits and nobody else holds it, it is the first of
                these, also where the queue has forgotten who held it.
        """
        self._refresh()
        with self._lock:
            now = self._clock()
            self._leases = {key: lease for key, lease in self._leases.items() if lease.until > now}
            if current and current in self._cards:
                self._leases.setdefault(current, _Lease(client, now))
            own = [
                self._cards[key] for key, lease in self._leases.items() if lease.client == client and key in self._cards
            ]
            own.sort(key=lambda card: card.key != current)
            free = (card for key, card in self._cards.items() if key not in self._leases)
            wanted = (
                card
                for card in chain(own, free)
                if event in (None, card.key.event) and (client, card.key) not in self._skipped
            )
            taken = list(islice(wanted, count))
            for card in taken:
                self._leases[card.key] = _Lease(client, now + LEASE_SECONDS)
            return taken

    def skip(self, client: str, key: Key) -> None:
        """Leave the card to others, and don't show it to this client until `unskip`."""
        with self._lock:
            self._release(client, key)
            self._skipped[client, key] = None
            if len(self._skipped) > _SKIPS_KEPT:
                self._skipped.pop(next(iter(self._skipped)))

    def unskip(self, client: str) -> None:
        """Show this client again what it skipped."""
        with self._lock:
            self._skipped = {one: None for one in self._skipped if one[0] != client}

    def drop(self, keys: Iterable[Key]) -> None:
        """These were answered, or are gone."""
        with self._lock:
            for key in keys:
                self._cards.pop(key, None)
                self._leases.pop(key, None)
                self._answered[key] = self._clock()

    def give_back(self, client: str, card: Card) -> None:
        """An answer was taken back: the card is this client's again."""
        with self._lock:
            self._answered.pop(card.key, None)
            self._cards[card.key] = card
            self._leases[card.key] = _Lease(client, self._clock() + LEASE_SECONDS)

    def ordered(self, order: Order, event: str | None = None) -> list[Card]:
        """All cards in an order, whoever looks at them."""
        self._refresh()
        with self._lock:
            cards = list(self._cards.values())
        return sorted((card for card in cards if event in (None, card.key.event)), key=lambda card: rank(card, order))

    def counts(self) -> dict[str, int]:
        """How many cards wait, by event."""
        self._refresh()
        with self._lock:
            counts: dict[str, int] = {}
            for key in self._cards:
                counts[key.event] = counts.get(key.event, 0) + 1
            return counts

    def skipped(self, client: str) -> int:
        """How many waiting cards this client skipped."""
        with self._lock:
            return sum(one == client and key in self._cards for one, key in self._skipped)

    def _release(self, client: str, key: Key) -> None:
        lease = self._leases.get(key)
        if lease and lease.client == client:
            del self._leases[key]

    def _refresh(self) -> None:
        """Read the queue anew if it is old; who comes meanwhile goes on with the old one."""
        age = self._clock() - self._refreshed
        if age < (_REFRESH_SECONDS if self._cards else _REFRESH_EMPTY_SECONDS):
            return
        first = self._refreshed == -math.inf
        if not self._refreshing.acquire(blocking=first):
            return
        try:
            began = self._clock()
            if self._refreshed > -math.inf and first:
                return  # somebody else has just read it for the first time
            order = self._order
            found = sorted(self._find(), key=lambda card: rank(card, order))
            with self._lock:
                self._cards = {card.key: card for card in found if self._answered.get(card.key, -math.inf) < began}
                self._answered = {key: at for key, at in self._answered.items() if at >= began}
                self._refreshed = began
        finally:
            self._refreshing.release()


def rank(card: Card, order: Order) -> tuple[float, Key]:
    """Where a card stands in the queue; the lowest comes first."""
    if order == "newest":
        return -(card.recorded_at.timestamp() if card.recorded_at else -math.inf), card.key
    if card.score is None or card.threshold is None:
        return math.inf, card.key
    return abs(card.score - card.threshold), card.key
