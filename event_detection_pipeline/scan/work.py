"""Finding work: a walk over the conversations by `_id` that costs the same however long their history is."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from bson import ObjectId
from pymongo import DESCENDING
from pymongo.database import Database

from event_detection_pipeline.chronicle.database import CONVERSATIONS, EVENT_SCAN_PROGRESS, patiently
from event_detection_pipeline.chronicle.documents import Document
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.pending import HEAD, PendingVersion, examine, still_pending
from event_detection_pipeline.scan.results import restore

logger = logging.getLogger(__name__)

# Conversations this much younger than the newest one of the last scan are looked at by each scan: their transcript
# may come, or be replaced, days after they were made.
RECENT = timedelta(days=7)
# So many older ones are looked at by each scan, in turn.
SWEEP = 500

_BATCH = 200  # conversations read at a time
_FIRST_SPAN = timedelta(days=1)  # that the first of them are looked for in
_SHORTEST_SPAN = timedelta(seconds=1)  # an ObjectId counts no smaller ones
_EPOCH = datetime.fromtimestamp(0, UTC)
_LEASED_AT_ONCE = 8  # versions: few enough that two scans share even a short list


class Work:
    """The versions to scan, `suspects` first, then newest conversation first, each leased when it is drawn.

    Chronicle's only other index is on `conversation_id`, and what is pending changes without a trace: conversations
    are transcribed anew, deleted and restored, and adapters promoted. So a walk by `_id` (an ObjectId begins with the
    time) reads the heads of conversations, and `event_scan_progress` keeps how far it has come. A scan looks

    1. at what earlier scans held and did not finish; before that, and at one at a time, at what they died over,
    2. at all that is newer than RECENT before the newest conversation of the last scan,
    3. downwards from where the last scan stopped: until the end in the first round for these adapters, SWEEP
       conversations in each later scan, and from the top again after the oldest.

    So what becomes pending is found by the next scan in a conversation that is new or recent, and within
    (conversations / SWEEP) scans in any other; what Chronicle lost there is restored as soon. A newly promoted adapter
    starts a first round: everything unanswered is pending again. Progress is saved only behind what was leased, and a
    lease lasts until its version is done: a scan that dies loses nothing.

    A scan that is overtaken, because other adapters were promoted while it went on, draws nothing more: what those
    heard stays. It looks after it has leased, so that no scan with them comes between the look and its own results, and
    leaves what it holds to the next one.
    """

    def __init__(
        self,
        database: Database[dict[str, Any]],
        adapters: Mapping[str, str],
        leases: Leases,
        limit: int | None,
        overtaken: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            adapters: the name of each event's adapter.
            limit: at most so many versions.
            overtaken: whether these adapters are no longer the promoted ones.
        """
        self.restored_flags = 0
        self.lost_answers = 0
        self._database = database
        self._conversations = database[CONVERSATIONS]
        self._adapters = sorted(adapters.values())
        self._leases = leases
        self._left = limit
        self._overtaken = overtaken
        # One document for each choice of events, not of adapters: it starts anew when one is promoted.
        self._progress = {"_id": ",".join(sorted(adapters)), "adapters": self._adapters}

    def suspects(self) -> Iterator[PendingVersion]:
        """What scans died over, for a look at each alone: it is to be finished before the next one is drawn. Those with
        fewest attempts come first, so that a guilty one keeps no other waiting."""
        self._leases.inherit()
        yield from self._abandoned(suspects=True)

    def __iter__(self) -> Iterator[PendingVersion]:
        yield from self._abandoned(suspects=False)
        progress = self._load()
        if progress is None:
            return
        newest, oldest = progress["newest"], progress["oldest"]
        # A wrong clock may have made the newest id one of the future.
        recent = _id_at(min(newest.generation_time, datetime.now(UTC)) - RECENT)
        for heads in self._walk(None, recent):
            newest = max(newest, heads[0]["_id"])
            yield from self._pending(heads)
            if self._left == 0:
                return
        self._save({"$max": {"newest": newest}})
        swept = 0
        for heads in self._walk(progress["position"] or recent, oldest):
            yield from self._pending(heads)
            if self._left == 0:
                return
            self._save({"$set": {"position": heads[-1]["_id"]}})
            swept += len(heads)
            if progress["complete"] and swept >= SWEEP:
                return
        self._save({"$set": {"position": None, "complete": True, "oldest": self._oldest() or oldest}})

    def _abandoned(self, *, suspects: bool) -> Iterator[PendingVersion]:
        held = [version for version in self._leases.abandoned() if (version.attempts > 0) is suspects]
        for start in range(0, len(held), _BATCH):
            batch = held[start : start + _BATCH]
            query = {"conversation_id": {"$in": [version.conversation_id for version in batch]}}
            heads = patiently(self._database, lambda query=query: list(self._conversations.find(query, HEAD)))
            pending = set(examine(self._database, heads, self._adapters).pending)
            yield from self._lease([version for version in batch if version in pending], suspects=suspects)
            # Answered, deleted or replaced since: nobody has to hear them any more.
            gone = [version for version in batch if version not in pending]
            self._leases.finish(self._leases.take(gone, suspects=suspects))

    def _walk(self, below: ObjectId | None, first: ObjectId) -> Iterator[Sequence[Document]]:
        """Heads in batches, newest first, from `below` down to `first`.

        A query each, because no cursor lives as long as a scan can take; and each over a stretch of time that holds
        about a batch, because not every server reads an index backwards without reading all of it.
        """
        span = _FIRST_SPAN
        while below is None or below > first:
            above = max(first, _id_at((below.generation_time if below else datetime.now(UTC)) - span))
            ids = {"$gte": above} | ({"$lt": below} if below else {})
            heads = patiently(
                self._database,
                lambda query={"_id": ids}: list(
                    self._conversations.find(query, HEAD).sort("_id", DESCENDING).limit(_BATCH)
                ),
            )
            if heads:
                yield heads
            full = len(heads) == _BATCH
            below, span = (heads[-1]["_id"], max(span / 2, _SHORTEST_SPAN)) if full else (above, span * 2)

    def _pending(self, heads: Sequence[Document]) -> Iterator[PendingVersion]:
        examined = examine(self._database, heads, self._adapters)
        self.restored_flags += restore(self._database, examined)
        self.lost_answers += len(examined.lost_answers)
        yield from self._lease(examined.pending)

    def _lease(self, versions: Sequence[PendingVersion], *, suspects: bool = False) -> Iterator[PendingVersion]:
        remaining, most = iter(versions), 1 if suspects else _LEASED_AT_ONCE
        while self._left != 0:
            at_once = most if self._left is None else min(self._left, most)
            batch = list(islice(remaining, at_once))
            if not batch:
                return
            leased = self._leases.take(batch, suspects=suspects)
            if self._overtaken():
                logger.warning("other adapters than %s are promoted now: this scan ends", ", ".join(self._adapters))
                self._left = 0
                return
            # Another scan may have finished one between our look and our lease.
            pending = still_pending(self._database, leased, self._adapters)
            self._leases.finish([version for version in leased if version not in pending])
            if self._left is not None:
                self._left -= len(pending)
            yield from pending

    def _oldest(self) -> ObjectId | None:
        # Ids of another type than Chronicle's would not compare with these.
        query = {"_id": {"$gte": ObjectId("0" * 24)}}
        found = patiently(
            self._database, lambda: list(self._conversations.find(query, {"_id": 1}).sort("_id").limit(1))
        )
        return found[0]["_id"] if found else None

    def _load(self) -> Document | None:
        """Where the last scan for these adapters stopped; None where there is no conversation at all."""
        progress = self._database[EVENT_SCAN_PROGRESS]
        # One of an earlier release does not say where the oldest conversation was: it starts anew.
        current = self._progress | {"oldest": {"$exists": True}}
        found = patiently(self._database, lambda: progress.find_one(current))
        if found:
            return found
        oldest = self._oldest()
        if oldest is None:
            return None
        heads = next(self._walk(None, oldest), None)
        newest = heads[0]["_id"] if heads else oldest
        fresh = self._progress | {"newest": newest, "oldest": oldest, "position": None, "complete": False}
        patiently(self._database, lambda: progress.replace_one({"_id": self._progress["_id"]}, fresh, upsert=True))
        return fresh

    def _save(self, update: dict[str, Any]) -> None:
        # Matches only while these adapters are the current ones; of several scans at once any one's place will do.
        patiently(self._database, lambda: self._database[EVENT_SCAN_PROGRESS].update_one(self._progress, update))


def _id_at(moment: datetime) -> ObjectId:
    """Below every id that was made then or later; no ObjectId is older than 1970."""
    return ObjectId.from_datetime(max(moment, _EPOCH))
