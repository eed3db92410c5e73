"""The store: adapters as folders with versions that are never used twice, and a pointer to the promoted one.

adapters/
  sneeze_v1/  sneeze_v2/        immutable once there
  sneeze_latest -> sneeze_v2    what scans use; replaced atomically
  sneeze_promotions.jsonl       when the pointer moved, from what to what, who moved it and why
  .versions/sneeze_v3           numbers given out, also to trainings that failed
"""

import contextlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from event_detection_pipeline.config import EventSettings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.files import folder_in_full


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
                f"no adapter is promoted for {names} in {self.root}: run the job retrain_adapter, or promote one with "
                "`event-detection adapters promote`"
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

    def promoted(self, event: str) -> AdapterVersion | None:
        """The adapter that scans use, or None before the first promotion."""
        pointer = self._pointer(event)
        return AdapterVersion.parse(str(pointer.readlink())) if pointer.is_symlink() else None

    def promote(self, version: AdapterVersion, *, by: str, reason: str) -> Promotion:
        """Point `<event>_latest` at the version. Promoting the promoted one again changes nothing but the history.

        Raises:
            NoSuchAdapter: it is not there.
        """
        self.path(version)
        previous = self.promoted(version.event)
        promotion = Promotion(
            datetime.now(UTC).isoformat(timespec="seconds"),
            str(previous) if previous else None,
            str(version),
            by,
            reason,
        )
        # History first: a crash between the two leaves a move on record that did not happen, which the next one shows;
        # the other order would leave a move that nobody can undo.
        with self._history(version.event).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(promotion)) + "\n")
        beside = self.root / f".{version.event}_latest.{secrets.token_hex(4)}"
        beside.symlink_to(str(version), target_is_directory=True)
        beside.replace(self._pointer(version.event))
        return promotion

    def rollback(self, event: str, *, by: str, reason: str) -> Promotion:
        """Promote what was promoted before the current adapter.

        Raises:
            NoSuchAdapter: there was nothing before it.
        """
        current = self.promoted(event)
        for promotion in reversed(self.promotions(event)):
            # Only moves forward count: rolling back twice goes back two steps, not to and fro.
            if promotion.previous and promotion.promoted == str(current):
                previous = AdapterVersion.parse(promotion.previous)
                if previous < AdapterVersion.parse(promotion.promoted):
                    return self.promote(previous, by=by, reason=reason)
        raise NoSuchAdapter(
            f"event {event} has no earlier promoted adapter to go back to; {self._those_there_are(event)}"
        )

    def promotions(self, event: str) -> list[Promotion]:
        """The history of the pointer, oldest first."""
        history = self._history(event)
        if not history.is_file():
            return []
        return [Promotion(**json.loads(line)) for line in history.read_text(encoding="utf-8").splitlines()]

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

    def _pointer(self, event: str) -> Path:
        return self.root / f"{event}_latest"

    def _history(self, event: str) -> Path:
        return self.root / f"{event}_promotions.jsonl"

    def _those_there_are(self, event: str) -> str:
        versions = self.versions(event)
        if not versions:
            return f"no adapter of event {event} has been trained yet: run the job retrain_adapter"
        return "there are " + ", ".join(str(version) for version in versions)
