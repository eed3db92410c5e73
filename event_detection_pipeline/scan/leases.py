"""Leases: of several scans at once each has its own versions, and what a killed one held is taken up by the next."""

import logging
import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from event_detection_pipeline.chronicle.database import EVENT_SCAN_LEASES, patiently, server_time
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.scan.pending import PendingVersion

logger = logging.getLogger(__name__)

# How long a version stays with a scan that no longer gives a sign of life, by the server's clock.
LEASE_TIME = timedelta(minutes=5)
# A lease beyond this was made while the server's clock was wrong, and would hold its version until that date.
_LONGEST = 2 * LEASE_TIME
# A version that so many scans died over, the first with others in work and the rest with it alone, is put on record
# instead of killing the next one, too.
MAX_ATTEMPTS = 3

_DUPLICATE_KEY = 11000


class Leases:
    """What one scan holds in `event_scan_leases`: a document for each version, with its owner and when it expires.

    As a context it keeps its leases alive. Those that are left when the block ends are free for the next scan at once,
    those of a killed process after LEASE_TIME. A lease names the adapters that are to hear its version, until each has:
    a scan for another event takes over the version, not the duty, and one that comes while the version is held leaves
    its own duty with the lease, because its progress passes the version.

    A scan that dies has several versions in work, decoded, scored and waiting, and nobody knows which of them it died
    of. So all of them become suspects, and none is taken again beside others: whoever takes a suspect takes it alone,
    and what a scan dies of then is known. One attempt says nothing of its version (a power cut, a timeout); only a
    version that scans die over again and again while it is alone reaches MAX_ATTEMPTS.
    """

    def __init__(
        self, database: Database[dict[str, Any]], adapters: Iterable[str], *, lease_time: timedelta = LEASE_TIME
    ) -> None:
        self._database = database
        self._leases = database[EVENT_SCAN_LEASES]
        self._adapters = sorted(adapters)
        self._lease_time = lease_time
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._held: set[PendingVersion] = set()
        self._ended = Event()
        self._keeper = Thread(target=self._keep_alive, name="scan-leases", daemon=True)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._keeper.join()
        # Stopped in good order, or by what is no version's fault, it says nothing against these. Any other error may
        # come from one of them, and again each time that one is listened to.
        blamed = isinstance(error, Exception) and not isinstance(error, (PipelineError, PyMongoError))
        try:
            freed = {"owner": None, "expires": server_time(self._database)}
            self._leases.update_many({"owner": self._owner}, {"$set": freed, "$inc": {"attempts": 0 if blamed else -1}})
        except PyMongoError as problem:
            logger.warning("leases stay until they expire: %s", type(problem).__name__)

    def take(self, versions: Sequence[PendingVersion], *, suspects: bool = False) -> list[PendingVersion]:
        """Those that nobody holds, neither another scan nor this one; now they are leased. The others are found among
        the `abandoned` by the next scan for these adapters, unless who holds them hears them with the same ones.

        Args:
            suspects: take suspects, too: the caller sees to it that each is alone.
        """
        free = [version for version in versions if version not in self._held]
        if not free:
            return []
        taken = patiently(self._database, lambda: self._take(free, suspects))
        self._held.update(taken)
        return taken

    def finish(self, versions: Sequence[PendingVersion]) -> None:
        """These are done for this scan's adapters: written, or there is nothing to write."""
        if not versions:
            return
        those = {"$or": [_key(version) for version in versions]}

        def finish() -> None:
            self._leases.update_many(
                those | {"owner": self._owner},
                {
                    "$pull": {"adapters": {"$in": self._adapters}},
                    "$set": {"owner": None, "expires": server_time(self._database), "attempts": 0},
                },
            )
            # Of any version: a scan that was killed between these two lines left some.
            self._leases.delete_many({"adapters": []})

        patiently(self._database, finish)
        self._held.difference_update(versions)

    def inherit(self) -> None:
        """What former adapters of these events were to hear and did not, these are to hear: nobody scans with those any
        more. A crash between the two writes leaves both on duty, until the next call."""

        def inherit() -> None:
            known = self._leases.distinct("adapters")
            for heir in self._adapters:
                former = [name for name in known if name != heir and _event(name) == _event(heir)]
                left = _free(server_time(self._database)) | {"adapters": {"$in": former}}
                if former:
                    self._leases.update_many(left, {"$addToSet": {"adapters": heir}})
                    self._leases.update_many(left, {"$pull": {"adapters": {"$in": former}}})

        patiently(self._database, inherit)

    def abandoned(self) -> list[PendingVersion]:
        """Versions that a scan by one of these adapters was to hear and did not, those with fewest attempts first; one
        with any is a suspect."""

        def find() -> list[dict[str, Any]]:
            left = _free(server_time(self._database)) | {"adapters": {"$in": self._adapters}}
            return list(self._leases.find(left).sort("attempts"))

        return [_version(lease) for lease in patiently(self._database, find)]

    def _take(self, versions: Sequence[PendingVersion], suspects: bool) -> list[PendingVersion]:
        taken, passed = self._lease(versions, suspects)
        if passed and not self._leave_duty(passed):
            # Somebody finished one between the two commands.
            taken += self._lease(passed, suspects)[0]
        return taken

    def _leave_duty(self, versions: Sequence[PendingVersion]) -> bool:
        """Whether each of them still had a lease to leave it with."""
        held = {"$or": [_key(version) for version in versions], "adapters": {"$ne": []}}
        duty = {"$addToSet": {"adapters": {"$each": self._adapters}}}
        return self._leases.update_many(held, duty).matched_count == len(versions)

    def _lease(
        self, versions: Sequence[PendingVersion], suspects: bool
    ) -> tuple[list[PendingVersion], list[PendingVersion]]:
        """Those that are this scan's now, and those that are not and whose lease knows nothing of its adapters."""
        now = server_time(self._database)
        taken = {
            "$set": {"owner": self._owner, "expires": now + self._lease_time},
            "$addToSet": {"adapters": {"$each": self._adapters}},
            "$inc": {"attempts": 1},
        }
        # A lease that holds does not match, and the unique index refuses a second one.
        free = _free(now) | ({} if suspects else {"attempts": {"$not": {"$gt": 0}}})
        upserts = [UpdateOne(_key(version) | free, taken, upsert=True) for version in versions]
        try:
            self._leases.bulk_write(upserts, ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            if any(one["code"] != _DUPLICATE_KEY for one in details.get("writeErrors", [])):
                raise
        there = {_version(one): one for one in self._leases.find({"$or": [_key(version) for version in versions]})}
        own = [version for version, lease in there.items() if lease["owner"] == self._owner]
        told = [version for version, lease in there.items() if set(self._adapters) <= set(lease["adapters"])]
        passed = [version for version in versions if version not in own and version not in told]
        return sorted(own, key=versions.index), passed

    def _keep_alive(self) -> None:
        while not self._ended.wait(self._lease_time.total_seconds() / 3):
            try:
                expires = server_time(self._database) + self._lease_time
                self._leases.update_many({"owner": self._owner}, {"$set": {"expires": expires}})
            except PyMongoError as error:
                logger.warning("leases could not be kept alive: %s", type(error).__name__)


def _free(now: datetime) -> dict[str, Any]:
    """Matches a lease that no longer holds."""
    return {"expires": {"$not": {"$gt": now, "$lte": now + _LONGEST}}}


def _event(adapter: str) -> str:
    return adapter.rpartition("_v")[0]


def _version(lease: dict[str, Any]) -> PendingVersion:
    return PendingVersion(lease["conversation_id"], lease["version_id"], int(lease.get("attempts") or 0))


def _key(version: PendingVersion) -> dict[str, Any]:
    return {"conversation_id": version.conversation_id, "version_id": version.version_id}
