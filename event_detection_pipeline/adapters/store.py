"""The store: adapters as folders with versions that are never used twice, and a pointer to the promoted one.

adapters/
  sneeze_v1/  sneeze_v2/        immutable once there, sealed with SHA256SUMS
  sneeze_latest -> sneeze_v2    what scans use; replaced atomically
  sneeze_latest.json            the same for what knows no links: object stores, copies, other programs
  sneeze_promotions.jsonl       when the pointer moved, from what to what, who moved it and why
  sneeze_approvals.jsonl        who let which candidate be promoted, when and why
  .versions/sneeze_v3           numbers given out, also to trainings that failed
"""

import contextlib
import json
import logging
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from event_detection_pipeline.adapters.seal import BrokenAdapter, seal, sync
from event_detection_pipeline.config import EventSettings, Settings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.files import append_line, folder_in_full, write_atomically

logger = logging.getLogger(__name__)

# Longer than any training: what is still a draft then was left behind by a crash.
DRAFT_KEPT_SECONDS = 7 * 86_400.0

Record = TypeVar("Record")


class NoSuchAdapter(PipelineError):
    """The adapter that was asked for does not exist."""


@dataclass(frozen=True, slots=True, order=True)
class AdapterVersion:
    """The name of an adapter: `sneeze_v3`."""

    event: str
    number: int

    def __str__(self) -> str:
        return f"{self.event}_v{self.number}"

    @classmethod
    def parse(cls, name: str) -> "AdapterVersion":
        """Raises NoSuchAdapter if `name` is not of the form `<event>_v<N>`."""
        match = re.fullmatch(r"([a-z0-9][a-z0-9_-]*)_v([1-9]\d*)", name)
        if match is None:
            raise NoSuchAdapter(f"{name!r} is not the name of an adapter; names look like sneeze_v3")
        return cls(match.group(1), int(match.group(2)))


@dataclass(frozen=True, slots=True)
class Promotion:
    """One move of the pointer. `previous` is None for an event's first adapter."""

    at: str
    previous: str | None
    promoted: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's word that an adapter may be promoted."""

    at: str
    adapter: str
    by: str
    reason: str


class AdapterStore:
    """The adapters of a household, below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, version: AdapterVersion) -> Path:
        """The adapter's folder. Raises NoSuchAdapter that lists those there are."""
        folder = self.root / str(version)
        if not folder.is_dir():
            raise NoSuchAdapter(f"there is no adapter {version} in {self.root}; {self._those_there_are(version.event)}")
        return folder

    def versions(self, event: str) -> list[AdapterVersion]:
        """All adapters of an event, oldest first."""
        found = []
        for folder in self.root.glob(f"{event}_v*"):
            with contextlib.suppress(NoSuchAdapter):
                version = AdapterVersion.parse(folder.name)
                if version.event == event and folder.is_dir():
                    found.append(version)
        return sorted(found)

    def texts(self, name: str) -> dict[str, str]:
        """What the small file of that name says in every adapter, of all events, by the adapter's name."""
        return {file.parent.name: file.read_text("utf-8") for file in self.root.glob(f"*_v*/{name}")}

    def newest(self, event: str) -> AdapterVersion:
        """The last adapter trained. Raises NoSuchAdapter that says how to train one."""
        versions = self.versions(event)
        if not versions:
            raise NoSuchAdapter(self._those_there_are(event))
        return versions[-1]

    def promoted_folders(self, events: Iterable[EventSettings]) -> list[Path]:
        """The folders of the promoted adapters of these events, leaving out events that have none yet.

        Raises:
            NoSuchAdapter: none of them has one.
        """
        events = list(events)
        folders = [self.path(version) for event in events if (version := self.promoted(event.name))]
        if not folders:
            names = ", ".join(event.name for event in events)
            raise NoSuchAdapter(
                f"no adapter is promoted for {names} in {self.root}: run the job full_loop, or promote an adapter that "
                "`event-detection adapters list` shows"
            )
        return folders

    @contextlib.contextmanager
    def new_version(self, event: str) -> Iterator[tuple[AdapterVersion, Path]]:
        """A new version and a hidden folder to write it to, which becomes the adapter when the block ends well.

        The number is taken by making a folder that must not exist yet, which only one of several trainings at once can
        do, and it stays taken when the training fails.
        """
        version = self._take_number(event)
        with folder_in_full(self.root / str(version)) as draft:
            yield version, draft
            seal(draft)
        sync(self.root)

    def promoted(self, event: str) -> AdapterVersion | None:
        """The adapter that scans use, or None before the first promotion.

        Raises:
            BrokenAdapter: there is no link (this is a copy of a store), and `<event>_latest.json` cannot be read.
        """
        pointer = self._pointer(event)
        if pointer.is_symlink():
            return AdapterVersion.parse(str(pointer.readlink()))
        described = pointer.with_suffix(".json")
        if not described.is_file():
            return None
        try:
            return AdapterVersion.parse(json.loads(described.read_text("utf-8"))["promoted"])
        except (ValueError, KeyError, TypeError, NoSuchAdapter) as error:
            raise BrokenAdapter(f"{described} does not name an adapter ({error}); promote one again") from None

    def promote(self, version: AdapterVersion, *, by: str, reason: str) -> Promotion:
        """Point `<event>_latest` at the version. Promoting the promoted one again only finishes what a crash left.

        Raises:
            NoSuchAdapter: it is not there.
        """
        with self._lock():
            self.path(version)
            history = self.promotions(version.event)
            if history and history[-1].promoted == str(version):
                self._point(history[-1])
                return history[-1]
            previous = self.promoted(version.event)
            promotion = Promotion(_now(), str(previous) if previous else None, str(version), by, reason)
            # History first: a crash after it leaves a move on record that did not happen, which `promotions` leaves
            # out; the other order would leave a move that nobody can undo.
            self._append(_history(version.event), asdict(promotion))
            self._point(promotion)
            return promotion

    def _point(self, promotion: Promotion) -> None:
        version = AdapterVersion.parse(promotion.promoted)
        pointer = self._pointer(version.event)
        write_atomically(pointer.with_suffix(".json"), (json.dumps(asdict(promotion), indent=2) + "\n").encode())
        # The link comes last: where it is, all the rest is.
        beside = self.root / f".{pointer.name}.{secrets.token_hex(4)}"
        beside.symlink_to(str(version), target_is_directory=True)
        beside.replace(pointer)
        sync(self.root)

    def rollback(self, event: str, *, by: str, reason: str) -> Promotion:
        """Promote what was promoted before the current adapter.

        Raises:
            NoSuchAdapter: there was nothing before it.
        """
        previous = self.before(event)
        if previous is None:
            raise NoSuchAdapter(
                f"event {event} has no earlier promoted adapter to go back to; {self._those_there_are(event)}"
            )
        return self.promote(previous, by=by, reason=reason)

    def before(self, event: str) -> AdapterVersion | None:
        """What was promoted before the current adapter, None where nothing was."""
        current = self.promoted(event)
        for promotion in reversed(self.promotions(event)):
            # Only moves forward count: rolling back twice goes back two steps, not to and fro.
            if promotion.previous and promotion.promoted == str(current):
                previous = AdapterVersion.parse(promotion.previous)
                if previous < AdapterVersion.parse(promotion.promoted):
                    return previous
        return None

    def promotions(self, event: str) -> list[Promotion]:
        """The history of the pointer, oldest first: the moves that led to where it is.

        A move on record that a crash prevented is left out, and so is a line that a crash cut short.
        """
        happened: list[Promotion] = []
        pointer = self.promoted(event)
        expected = str(pointer) if pointer else None
        for promotion in reversed(_records(self._lines(_history(event)), Promotion)):
            if promotion.promoted == expected:
                happened.append(promotion)
                expected = promotion.previous
        return happened[::-1]

    def approve(self, version: AdapterVersion, *, by: str, reason: str) -> Approval:
        """Put on record that a person lets this adapter be promoted. It moves nothing.

        Raises:
            NoSuchAdapter: it is not there.
        """
        self.path(version)
        approval = Approval(_now(), str(version), by, reason)
        with self._lock():
            self._append(_approvals(version.event), asdict(approval))
        return approval

    def approvals(self, event: str) -> dict[str, Approval]:
        """The last approval of each adapter of an event that was ever approved, by its name."""
        return {one.adapter: one for one in _records(self._lines(_approvals(event)), Approval)}

    def approval(self, version: AdapterVersion) -> Approval | None:
        """The last approval of an adapter, or None."""
        return self.approvals(version.event).get(str(version))

    def remove(self, version: AdapterVersion) -> None:
        """Delete an adapter; its number stays taken, and what others wrote about it stays true.

        Raises:
            PipelineError: it is the promoted one.
        """
        with self._lock():
            if self.promoted(version.event) == version:
                raise PipelineError(f"{version} is the promoted adapter: it is never deleted")
            self._delete(version)

    def clean_up(self) -> int:
        """Delete what crashes left behind: half-deleted adapters and drafts a week old; how many there were."""
        with self._lock():
            left = [*self.root.glob(".*_v*.removed"), *self.root.glob(".*_latest.*")]
            for draft in self.root.glob(".*_v*.draft"):
                if time.time() - draft.stat().st_mtime > DRAFT_KEPT_SECONDS:
                    left.append(draft)
            for path in left:
                if path.is_symlink() or path.is_file():
                    path.unlink()
                else:
                    shutil.rmtree(path, ignore_errors=True)
        return len(left)

    def _take_number(self, event: str) -> AdapterVersion:
        taken = self.root / ".versions"
        taken.mkdir(parents=True, exist_ok=True)
        number = max((version.number for version in self.versions(event)), default=0) + 1
        while True:
            version = AdapterVersion(event, number)
            try:
                (taken / str(version)).mkdir()
            except FileExistsError:
                number += 1
            else:
                return version

    def _delete(self, version: AdapterVersion) -> None:
        # Out of sight in one step, so that nobody ever finds half an adapter.
        hidden = self.root / f".{version}.removed"
        AdapterStore.path(self, version).rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def _append(self, log: str, record: object) -> None:
        append_line(self.root / log, record)

    def _lines(self, log: str) -> list[str]:
        file = self.root / log
        return file.read_text("utf-8", errors="replace").splitlines() if file.is_file() else []

    def _pointer(self, event: str) -> Path:
        return self.root / f"{event}_latest"

    def _lock(self) -> FileLock:
        # Two promotions at once, or one and a deletion, would leave pointer, description and history in disagreement.
        self.root.mkdir(parents=True, exist_ok=True)
        return FileLock(self.root / ".lock", is_singleton=True)

    def _those_there_are(self, event: str) -> str:
        versions = self.versions(event)
        if not versions:
            return f"no adapter of event {event} has been trained yet: run the job retrain_adapter"
        return "there are " + ", ".join(str(version) for version in versions)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def open_store(settings: Settings) -> AdapterStore:
    """The store of the settings: a folder of this machine, with `adapters.url` as the cache of a shared one.

    Raises:
        PipelineError: the file system of the URL is not installed.
    """
    if settings.adapters.url is None:
        return AdapterStore(settings.adapter_dir)
    from event_detection_pipeline.adapters.remote import RemoteAdapterStore

    return RemoteAdapterStore(settings.adapter_dir, settings.adapters.url)


def _history(event: str) -> str:
    return f"{event}_promotions.jsonl"


def _approvals(event: str) -> str:
    return f"{event}_approvals.jsonl"


def _records(lines: Iterable[str], kind: type[Record]) -> list[Record]:
    """The records of a log; a line that is none (a power cut leaves half a line) is left out and logged."""
    records = []
    for line in lines:
        try:
            records.append(TypeAdapter(kind).validate_json(line))
        except ValidationError:
            if line:
                logger.warning("a line that was cut short is left out: %s", line[:80])
    return records
