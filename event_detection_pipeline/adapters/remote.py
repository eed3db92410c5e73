"""A store that several machines share, at any URL that fsspec opens (s3://, gs://, file://).

Adapters are trained into and loaded from this machine's folder, which is a cache of the shared store:

    <url>/sneeze_v3/...                 an adapter; it is one when SHA256SUMS, which is written last, is there
    <url>/sneeze_latest.json            the pointer: one object, replaced in one step
    <url>/sneeze_promotions.jsonl/...   one object a record, because object stores cannot append
    <url>/.versions/sneeze_v3           numbers given out

A number is taken by creating an object that must not exist. S3 and Google Cloud Storage do that in one step
(If-None-Match, ifGenerationMatch); on other file systems fsspec looks and then writes, and two trainings that begin in
the same instant on two machines could take the same number. Two promotions at the same instant on two machines both
stay on record, and the pointer is where the last one put it.
"""

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from event_detection_pipeline.adapters.seal import SUMS_FILE, BrokenAdapter, verify
from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion, NoSuchAdapter, Promotion
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.files import folder_in_full

_MOMENT = "%Y%m%dT%H%M%S%f"


class RemoteAdapterStore(AdapterStore):
    """The adapters of a household at a URL, with this machine's folder as their cache."""

    def __init__(self, root: Path, url: str) -> None:
        """Raises PipelineError where the URL's file system is not installed."""
        super().__init__(root)
        try:
            self._files, self._base = cast(tuple[AbstractFileSystem, str], url_to_fs(url, use_listings_cache=False))
        except (ImportError, ValueError) as error:
            raise PipelineError(f"adapters.url = {url!r} cannot be opened: {error}") from None

    def path(self, version: AdapterVersion) -> Path:
        """The adapter's folder on this machine, fetched and verified if it was not there yet.

        Raises:
            NoSuchAdapter: it is nowhere.
            BrokenAdapter: what was fetched is not what was published.
        """
        folder = self.root / str(version)
        if not folder.is_dir() and self._files.exists(self._at(str(version), SUMS_FILE)):
            with self._lock():
                if not folder.is_dir():
                    self._fetch(version, folder)
        return super().path(version)

    def versions(self, event: str) -> list[AdapterVersion]:
        """All adapters of an event that were published, oldest first; whether they are on this machine or not."""
        found = []
        for sums in cast(list[str], self._files.glob(self._at(f"{event}_v*", SUMS_FILE))):
            with contextlib.suppress(NoSuchAdapter):
                version = AdapterVersion.parse(sums.split("/")[-2])
                if version.event == event:
                    found.append(version)
        return sorted(found)

    def texts(self, name: str) -> dict[str, str]:
        """Also in adapters that are not on this machine, of which nothing else is fetched."""
        here = super().texts(name)
        there = {path.split("/")[-2]: path for path in cast(list[str], self._files.glob(self._at("*_v*", name)))}
        return here | {adapter: self._read(path).decode() for adapter, path in there.items() if adapter not in here}

    @contextlib.contextmanager
    def new_version(self, event: str) -> Iterator[tuple[AdapterVersion, Path]]:
        """As in a folder, then published. What a lost connection kept on this machine, `promote` publishes."""
        with super().new_version(event) as (version, draft):
            yield version, draft
        self._publish(version)

    def promoted(self, event: str) -> AdapterVersion | None:
        """The adapter that scans use, on whatever machine it was promoted."""
        try:
            described = self._read(self._at(f"{event}_latest.json"))
        except FileNotFoundError:
            return None
        try:
            return AdapterVersion.parse(json.loads(described)["promoted"])
        except (ValueError, KeyError, TypeError, NoSuchAdapter) as error:
            raise BrokenAdapter(f"{event}_latest.json names no adapter ({error}); promote one again") from None

    def _publish(self, version: AdapterVersion) -> None:
        folder = self.root / str(version)
        files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != SUMS_FILE]
        for file in (*files, folder / SUMS_FILE):
            self._write(self._at(str(version), file.relative_to(folder).as_posix()), file.read_bytes())

    def _fetch(self, version: AdapterVersion, folder: Path) -> None:
        there = self._at(str(version))
        with folder_in_full(folder) as draft:
            for path in self._files.find(there):
                file = draft / Path(path).relative_to(there)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self._read(path))
            verify(draft)

    def _point(self, promotion: Promotion) -> None:
        version = AdapterVersion.parse(promotion.promoted)
        if not self._files.exists(self._at(str(version), SUMS_FILE)):
            self._publish(version)
        self._write(self._at(f"{version.event}_latest.json"), json.dumps(asdict(promotion), indent=2).encode())
        # For people and programs on this machine; this store itself reads the shared pointer.
        super()._point(promotion)

    def _take_number(self, event: str) -> AdapterVersion:
        while True:
            version = super()._take_number(event)
            with contextlib.suppress(FileExistsError):
                self._write(self._at(".versions", str(version)), b"", mode="create")
                return version

    def _delete(self, version: AdapterVersion) -> None:
        # The seal first: without it there is no adapter.
        for path in (self._at(str(version), SUMS_FILE), self._at(str(version))):
            if self._files.exists(path):
                self._files.rm(path, recursive=True)
        if (self.root / str(version)).is_dir():
            super()._delete(version)

    def _append(self, log: str, record: object) -> None:
        # Names are in the order of writing, also where a clock was set back or two machines' clocks differ; the suffix
        # keeps two records of the same microsecond apart.
        before = [_moment(path) for path in self._files.find(self._at(log))]
        moment = max([datetime.now(UTC), *(one + timedelta(microseconds=1) for one in before)])
        name = f"{moment.strftime(_MOMENT)}-{secrets.token_hex(4)}.json"
        self._write(self._at(log, name), json.dumps(record, ensure_ascii=False).encode())

    def _lines(self, log: str) -> list[str]:
        return [self._read(path).decode() for path in sorted(self._files.find(self._at(log)))]

    def _read(self, path: str) -> bytes:
        return cast(bytes, self._files.cat_file(path))

    def _write(self, path: str, data: bytes, **options: Any) -> None:
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, data, **options)

    def _at(self, *parts: str) -> str:
        return "/".join((self._base.rstrip("/"), *parts))


def _moment(record: str) -> datetime:
    name = record.rpartition("/")[2]
    return datetime.strptime(name.partition("-")[0], _MOMENT).replace(tzinfo=UTC)
