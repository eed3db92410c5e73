"""The way into Chronicle's MongoDB, and the two collections that are this project's own."""

import logging
from typing import Any

from pymongo import ASCENDING, MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from event_detection_pipeline.errors import PipelineError

CONVERSATIONS = "conversations"
AUDIO_CHUNKS = "audio_chunks"
TRAINING_STASH = "training_stash"
EVENT_SCANS = "event_scans"
EVENT_REVIEWS = "event_reviews"

logger = logging.getLogger(__name__)

APP_NAME = "event-detection-pipeline"


class ChronicleUnavailable(PipelineError):
    """The database does not answer; the message never holds credentials."""


def connect(uri: str, database: str, *, timeout_seconds: float = 10) -> Database[dict[str, Any]]:
    """Open Chronicle's database and see that it answers. Dates come back with their time zone (UTC).

    Raises:
        ChronicleUnavailable: the URI is wrong, no server answers in time, or it refuses us.
    """
    try:
        client: MongoClient[dict[str, Any]] = MongoClient(
            uri,
            appname=APP_NAME,
            retryReads=True,
            retryWrites=True,
            serverSelectionTimeoutMS=int(timeout_seconds * 1000),
            tz_aware=True,
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
        raise ChronicleUnavailable(
            f"MongoDB at {_hosts(uri)} does not answer for database {database!r} ({type(error).__name__}). "
            "Is Chronicle running? Check MONGODB_URI and MONGODB_DATABASE"
        ) from None
    return client[database]


def ensure_indexes(database: Database[dict[str, Any]]) -> None:
    """Index our own collections (one scan and one review for each version and event), and of Chronicle's conversations
    the flags and the deleted ones: without that each export would read every word ever said (docs/decisions.md)."""
    of_version = [("conversation_id", ASCENDING), ("version_id", ASCENDING), ("event", ASCENDING)]
    for collection, time in ((EVENT_SCANS, "scanned_at"), (EVENT_REVIEWS, "reviewed_at")):
        database[collection].create_index(of_version, unique=True)
        database[collection].create_index([("event", ASCENDING), (time, ASCENDING)])
    try:
        database[CONVERSATIONS].create_index("transcript_versions.maybe_anomaly", sparse=True)
        database[CONVERSATIONS].create_index("deleted", partialFilterExpression={"deleted": True})
    except OperationFailure as error:  # a user who may not index Chronicle's collections can work all the same
        logger.warning("conversations could not be indexed, exports read all of them: %s", error.code)


def _hosts(uri: str) -> str:
    try:
        return ", ".join(f"{host}:{port}" for host, port in parse_uri(uri)["nodelist"])
    except (PyMongoError, ValueError):
        return "the configured address"
