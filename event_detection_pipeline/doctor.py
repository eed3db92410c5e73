"""The doctor: checks each thing a run needs, and says what to do about what is missing."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pymongo.errors import PyMongoError

from event_detection_pipeline.chronicle.database import ChronicleUnavailable, explain
from event_detection_pipeline.config import Settings

# What a folder with a Whisper has, each under one of its names: weights may be in parts, a tokenizer an old one.
WHISPER_FILES = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json"),
    ("preprocessor_config.json", "processor_config.json"),
    ("tokenizer.json", "vocab.json"),
)
MIN_FREE_GB = 5  # a large-v3 download with its cache, and room for clips


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `advice` says what to do where it is not ok."""

    check: str
    ok: bool
    found: str
    advice: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """All checks, one after the other; none stops the rest."""
    checks: list[tuple[str, Callable[[Settings], Finding]]] = [
        ("MongoDB", _mongo),
        ("indexes", _indexes),
        ("scans", _scans),
        ("base model", _base_model),
        ("device", _device),
        ("disk", _disk),
        ("data directory", _data_dir),
        ("adapters", _adapters),
    ]
    for name, check in checks:
        try:
            yield check(settings)
        except ChronicleUnavailable as error:
            if name == "MongoDB":  # of the rest, that stays to be seen
                yield Finding(name, False, "failed", str(error))
        except PyMongoError as error:
            yield Finding(name, False, "failed", explain(error))
        except Exception as error:  # a doctor that dies of what it finds helps nobody
            yield Finding(name, False, "failed", str(error).splitlines()[0] if str(error) else type(error).__name__)


def _mongo(settings: Settings) -> Finding:
    from event_detection_pipeline.chronicle.database import CONVERSATIONS, TRAINING_STASH, connect

    database = connect(settings.mongodb_uri.get_secret_value(), settings.database_name, timeout_seconds=3)
    conversations = database[CONVERSATIONS].estimated_document_count()
    stash = database[TRAINING_STASH].estimated_document_count()
    found = f"database {database.name}: {conversations} conversations, {stash} in the stash"
    advice = "" if conversations else "is this Chronicle's database? Set MONGODB_DATABASE (older installs: friend-lite)"
    return Finding("MongoDB", conversations > 0, found, advice)


def _indexes(settings: Settings) -> Finding:
    from event_detection_pipeline.chronicle.database import (
        CONVERSATIONS,
        EVENT_REVIEWS,
        EVENT_SCAN_LEASES,
        EVENT_SCANS,
        EVENT_SHADOW_SCANS,
        connect,
    )

    database = connect(settings.mongodb_uri.get_secret_value(), settings.database_name, timeout_seconds=3)
    wanted = {
        EVENT_SCANS: "conversation_id",
        EVENT_REVIEWS: "conversation_id",
        EVENT_SHADOW_SCANS: "conversation_id",
        EVENT_SCAN_LEASES: "conversation_id",
        CONVERSATIONS: "transcript_versions.maybe_anomaly",
    }
    existing = set(database.list_collection_names())
    missing = [
        name
        for name, field in wanted.items()
        if name not in existing
        or not any(index["key"][0][0] == field for index in database[name].index_information().values())
    ]
    found = f"not there yet on {', '.join(missing)}: the first scan makes them" if missing else ", ".join(wanted)
    return Finding("indexes", True, found)


def _scans(settings: Settings) -> Finding:
    from event_detection_pipeline.chronicle.database import (
        EVENT_SCAN_LEASES,
        EVENT_SCAN_PROGRESS,
        connect,
        server_time,
    )

    database = connect(settings.mongodb_uri.get_secret_value(), settings.database_name, timeout_seconds=3)
    now = server_time(database)
    in_work = database[EVENT_SCAN_LEASES].count_documents({"expires": {"$gt": now}})
    left = database[EVENT_SCAN_LEASES].count_documents({"expires": {"$lte": now}})
    backlog = [", ".join(one["adapters"]) for one in database[EVENT_SCAN_PROGRESS].find({"complete": False})]
    found = f"{in_work} versions in work, {left} left by scans that stopped"
    if backlog:
        found += f"; not through the whole history yet: {'; '.join(backlog)}"
    return Finding("scans", True, found, "the next scan takes up what was left" if left else "")


def _base_model(settings: Settings) -> Finding:
    name = settings.base_model
    if Path(name).is_dir():
        missing = [files[0] for files in WHISPER_FILES if not any((Path(name) / file).is_file() for file in files)]
        advice = f"the folder lacks {', '.join(missing)}; set base_model to a Whisper on the hub" if missing else ""
        return Finding("base model", not missing, f"folder {name}", advice)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return Finding(
            "base model", False, f"no folder {name}", "set base_model to a Whisper on the hub, or to a folder"
        )

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return Finding("base model", True, f"{name}, in the local cache")
    return Finding(
        "base model",
        True,
        f"{name}, not downloaded yet",
        f"the first training fetches it (large-v3: 3 GB), or now: `hf download {name}`",
    )


def _device(settings: Settings) -> Finding:
    from event_detection_pipeline.adapters.device import choose_compute

    compute = choose_compute(settings.device)
    large = "large" in settings.base_model and compute.device.type == "cpu"
    advice = (
        "training a large model on a CPU takes days: set base_model to openai/whisper-tiny or -base" if large else ""
    )
    return Finding("device", not large, f"{compute.name}, {str(compute.dtype).removeprefix('torch.')}", advice)


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.data_dir)).free / 1e9
    advice = "" if free >= MIN_FREE_GB else f"at least {MIN_FREE_GB} GB are wanted; set data_dir to a larger disk"
    return Finding("disk", free >= MIN_FREE_GB, f"{free:.0f} GB free", advice)


def _data_dir(settings: Settings) -> Finding:
    folder = _existing(settings.data_dir)
    writable = folder.is_dir() and os.access(folder, os.W_OK)
    advice = "" if writable else f"make {folder} writable for this user, or set data_dir"
    return Finding("data directory", writable, str(settings.data_dir.resolve()), advice)


def _adapters(settings: Settings) -> Finding:
    from event_detection_pipeline.adapters.store import open_store

    store = open_store(settings)
    promoted = {event.name: store.promoted(event.name) for event in settings.events}
    without = [name for name, version in promoted.items() if version is None]
    found = ", ".join(str(version) for version in promoted.values() if version) or "none promoted yet"
    advice = (
        f"run the job full_loop for: {', '.join(without)}; where less than {settings.min_samples} (min_samples) was "
        "reviewed, give recordings first: `event-detection bootstrap`"
        if without
        else ""
    )
    return Finding("adapters", True, found, advice)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path
