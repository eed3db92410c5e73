"""The way into Chronicle's MongoDB, and the collections that are this project's own."""

import logging
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import pymongo
from pymongo import ASCENDING, MongoClient, WriteConcern
from pymongo.database import Database
from pymongo.errors import AutoReconnect, CursorNotFound, NotPrimaryError, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from event_detection_pipeline.errors import PipelineError

CONVERSATIONS = "conversations"
AUDIO_CHUNKS = "audio_chunks"
TRAINING_STASH = "training_stash"
EVENT_SCANS = "event_scans"
EVENT_REVIEWS = "event_reviews"
EVENT_SHADOW_SCANS = "event_shadow_scans"
EVENT_SCAN_LEASES = "event_scan_leases"
EVENT_SCAN_PROGRESS = "event_scan_progress"

logger = logging.getLogger(__name__)

APP_NAME = "event-detection-pipeline"

AWAY = (AutoReconnect, CursorNotFound)
"""What the driver raises when a server went away; one that is back has forgotten its cursors."""

OUTAGE_SECONDS = 120.0  # a restart or an update of the server takes less

REPLY_SECONDS = 120.0
"""How long a reply may take before its connection counts as lost; a `socketTimeoutMS` in the URI replaces it. Each
batch of a cursor is a reply of its own. The driver alone would wait for ever."""

JOURNALED = WriteConcern(w="majority", j=True)
"""For what a person is told has been done. A standalone server, as Chronicle's usually is, confirms other writes before
they are safe: a kill within the next 100 ms takes them back."""

# MongoDB's error codes (src/mongo/base/error_codes.yml) for who may not do something, and for who may not even enter.
_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18
_REFUSED = (_UNAUTHORIZED, _AUTHENTICATION_FAILED)
_REFUSED_COMMAND = re.compile(r'to execute command \{ (\w+): "([^"]+)"')

_INDEX_SECONDS = 3600.0  # no reply comes before the whole history of a home has been indexed
_PAUSE_SECONDS = 0.5
_TRIES = 5

Result = TypeVar("Result")


class ChronicleUnavailable(PipelineError):
    """The database does not answer; the message never holds credentials."""


def connect(uri: str, database: str, *, timeout_seconds: float = 10) -> Database[dict[str, Any]]:
    """Open Chronicle's database and see that it answers. Dates come back with their time zone (UTC).

    Args:
        timeout_seconds: how long to wait for a server, unless the URI has a `serverSelectionTimeoutMS`.

    Raises:
        ChronicleUnavailable: the URI is wrong, no server answers in time, or it refuses us.
    """
    patience = {"serverSelectionTimeoutMS": timeout_seconds, "socketTimeoutMS": REPLY_SECONDS}
    # What is passed beside the URI would go before what it says.
    said = _options(uri)
    unsaid: dict[str, Any] = {name: int(1000 * limit) for name, limit in patience.items() if name.lower() not in said}
    try:
        client: MongoClient[dict[str, Any]] = MongoClient(
            uri,
            appname=APP_NAME,
            retryReads=True,
            retryWrites=True,
            tz_aware=True,
            **unsaid,
        )
    except (PyMongoError, ValueError):
        # The driver's own message may quote the URI with its password.
        raise ChronicleUnavailable(
            "the MongoDB URI is not valid; it looks like mongodb://user:password@host:27017 (special characters in "
            "the password are percent-encoded). Set MONGODB_URI"
        ) from None
    try:
        client.admin.command("ping")
        client[database].list_collection_names()  # a server that wants a login answers a ping without one
    except PyMongoError as error:
        client.close()
        if isinstance(error, OperationFailure) and error.code in _REFUSED:
            raise ChronicleUnavailable(f"at {_hosts(uri)}, database {database!r}: {explain(error)}") from None
        raise ChronicleUnavailable(
            f"MongoDB at {_hosts(uri)} does not answer for database {database!r} ({type(error).__name__}). "
            "Is Chronicle running? Check MONGODB_URI and MONGODB_DATABASE"
        ) from None
    return client[database]


def explain(error: PyMongoError) -> str:
    """An error of the driver for a person. Its own message may quote the URI with its password, and whole commands."""
    if isinstance(error, OperationFailure) and error.code == _AUTHENTICATION_FAILED:
        return "MongoDB refuses the user or the password in MONGODB_URI (an authSource may be missing)"
    if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
        refused = _REFUSED_COMMAND.search(str((error.details or {}).get("errmsg")))
        what = f" ({refused[1]} on {refused[2]})" if refused else ""
        return f"MongoDB does not allow the user in MONGODB_URI what is needed{what}; docs/security.md lists the rights"
    return f"MongoDB failed in mid-work ({type(error).__name__}); what was written is kept, the next try goes on there"


def server_time(database: Database[dict[str, Any]]) -> datetime:
    """The time of day by the server's clock (UTC), which all that share a database agree on."""
    return database.client.admin.command("hello", codec_options=database.codec_options)["localTime"]


def patiently(database: Database[dict[str, Any]], operation: Callable[[], Result]) -> Result:
    """Do something that may be done twice, again where the server went away in the middle of it.

    Raises:
        ChronicleUnavailable: it stayed away, or went away again and again.
    """
    patience = Patience(database)
    while True:
        try:
            return operation()
        except AWAY as error:
            patience.wait(error)


class Patience:
    """Waits for a server that goes away, but not again and again in the same place."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database
        self.tries = 0

    def wait(self, error: Exception) -> None:
        """Return when the server answers again after an error of AWAY; the caller sets `tries` to 0 when it gets on.

        Raises:
            ChronicleUnavailable: it stayed away, or this was the fifth time.
        """
        wait_for_server(self._database)
        self.tries += 1
        if self.tries < _TRIES:
            return
        if isinstance(error, NotPrimaryError):
            raise ChronicleUnavailable(
                "MongoDB answers, but refuses: that server is not the primary of its replica set. Name all servers of "
                "the set, and replicaSet=NAME, in MONGODB_URI"
            ) from None
        raise ChronicleUnavailable(f"MongoDB broke off {_TRIES} times in the same place; its log says why") from None


def wait_for_server(database: Database[dict[str, Any]]) -> None:
    """Return as soon as the server answers. Raises ChronicleUnavailable after OUTAGE_SECONDS."""
    logger.warning("MongoDB went away; waiting for it up to %.0f s", OUTAGE_SECONDS)
    until = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            database.client.admin.command("ping")
            return
        except AWAY:
            if time.monotonic() > until:
                raise ChronicleUnavailable(
                    f"MongoDB went away and was not back after {OUTAGE_SECONDS:.0f} s. Is Chronicle running? What was "
                    "in work is taken up by the next run"
                ) from None
            time.sleep(_PAUSE_SECONDS)


def ensure_indexes(database: Database[dict[str, Any]]) -> None:
    """Index our own collections (one scan and one review for each version and event), and of Chronicle's conversations
    the flags and the deleted ones: without that each export would read every word ever said (docs/decisions.md)."""
    of_version = [("conversation_id", ASCENDING), ("version_id", ASCENDING)]
    of_event = [*of_version, ("event", ASCENDING)]
    for collection, moment in ((EVENT_SCANS, "scanned_at"), (EVENT_REVIEWS, "reviewed_at")):
        database[collection].create_index(of_event, unique=True)
        database[collection].create_index([("event", ASCENDING), (moment, ASCENDING)])
    database[EVENT_SHADOW_SCANS].create_index([*of_event, ("adapter", ASCENDING)], unique=True)
    database[EVENT_SCAN_LEASES].create_index(of_version, unique=True)
    database[EVENT_SCAN_LEASES].create_index("expires")
    try:
        with pymongo.timeout(_INDEX_SECONDS):
            database[CONVERSATIONS].create_index("transcript_versions.maybe_anomaly", sparse=True)
            database[CONVERSATIONS].create_index("deleted", partialFilterExpression={"deleted": True})
    except OperationFailure as error:  # a user who may not index Chronicle's collections can work all the same
        logger.warning("conversations could not be indexed, exports read all of them: %s", explain(error))


def _options(uri: str) -> set[str]:
    """The names of a URI's options, in lower case; the driver's own parser would ask the DNS about mongodb+srv."""
    return {option.partition("=")[0].lower() for option in re.split("[&;]", uri.partition("?")[2])}


def _hosts(uri: str) -> str:
    try:
        return ", ".join(f"{host}:{port}" for host, port in parse_uri(uri)["nodelist"])
    except (PyMongoError, ValueError):
        return "the configured address"
