"""What has been made so far: clips and rejects by the material they were made of, kept in one SQLite file.

An export that is killed continues where it stopped, and one that finds nothing new reads no audio. A file that no clip
of any event names any more is removed: the recording of a conversation that somebody deleted must not stay behind.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from event_detection_pipeline.clips.cutting import Outcome
from event_detection_pipeline.clips.manifest import Clip, clip_line, parse_clip
from event_detection_pipeline.clips.rejects import Reject, RejectReason
from event_detection_pipeline.errors import PipelineError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    event TEXT, key TEXT, fingerprint TEXT, PRIMARY KEY (event, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clips (
    event TEXT, key TEXT, position INTEGER, audio TEXT, line TEXT, PRIMARY KEY (event, key, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejects (
    event TEXT, key TEXT, position INTEGER, reason TEXT, line TEXT, PRIMARY KEY (event, key, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS clips_audio ON clips (audio);
CREATE TABLE IF NOT EXISTS unnamed (audio TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class BrokenIndex(PipelineError):
    """The index cannot be read, or not be written."""


class ClipIndex:
    """The clips of one event; use as `with open_index(path, event) as index`."""

    def __init__(self, connection: sqlite3.Connection, event: str) -> None:
        self._connection = connection
        self._event = event

    def fingerprints(self) -> dict[str, str]:
        """What is known, by key; without what lacked audio, which may have come back, and whose own files are lost."""
        known = dict(self._select("SELECT key, fingerprint FROM items WHERE event = ?"))
        for key, reason in self._select("SELECT key, reason FROM rejects WHERE event = ?"):
            if reason == RejectReason.NO_AUDIO:
                known.pop(key, None)
        for key, audio in self._select("SELECT key, audio FROM clips WHERE event = ?"):
            if not _is_there(Path(audio)):
                known.pop(key, None)
        return known

    def clips_of(self, key: str) -> tuple[str, tuple[Clip, ...]]:
        """The fingerprint of a material, "" if it is unknown, and those of its clips whose files are there."""
        of_key = self._event, key
        known = self._connection.execute("SELECT fingerprint FROM items WHERE event = ? AND key = ?", of_key).fetchone()
        lines = self._connection.execute("SELECT line FROM clips WHERE event = ? AND key = ? ORDER BY position", of_key)
        clips = (parse_clip(line, "the index of clips") for (line,) in lines.fetchall())
        return known[0] if known else "", tuple(clip for clip in clips if _is_there(Path(clip.audio)))

    def move_to(self, audio_dir: Path) -> None:
        """Name the files that are in `audio_dir` now: `data_dir` may have been moved, or copied, as a whole."""
        elsewhere = "SELECT key, position, line FROM clips WHERE event = ? AND instr(audio, ?) != 1"
        rows = self._connection.execute(elsewhere, (self._event, f"{audio_dir}{os.sep}")).fetchall()
        with self._connection:
            for key, position, line in rows:
                clip = parse_clip(line, "the index of clips")
                here = audio_dir / Path(clip.audio).name
                if _is_there(here):
                    moved = replace(clip, audio=str(here))
                    self._connection.execute(
                        "UPDATE clips SET audio = ?, line = ? WHERE event = ? AND key = ? AND position = ?",
                        (moved.audio, clip_line(moved), self._event, key, position),
                    )

    def put(self, outcome: Outcome) -> None:
        """Replace what the material was before."""
        with self._connection:
            self._forget(outcome.key)
            self._connection.execute(
                "INSERT INTO items VALUES (?, ?, ?)", (self._event, outcome.key, outcome.fingerprint)
            )
            self._connection.executemany(
                "INSERT INTO clips VALUES (?, ?, ?, ?, ?)",
                [
                    (self._event, outcome.key, position, clip.audio, clip_line(clip))
                    for position, clip in enumerate(outcome.clips)
                ],
            )
            self._connection.executemany(
                "INSERT INTO rejects VALUES (?, ?, ?, ?, ?)",
                [
                    (self._event, outcome.key, position, reject.reason, json.dumps(asdict(reject)))
                    for position, reject in enumerate(outcome.rejects)
                ],
            )

    def keep_only(self, keys: Iterable[str], prefix: str) -> None:
        """Forget what is no longer there of the material whose keys begin with `prefix`."""
        wanted = set(keys)
        with self._connection:
            for (key,) in self._select("SELECT key FROM items WHERE event = ?"):
                if key.startswith(prefix) and key not in wanted:
                    self._forget(key)

    def lines(self) -> list[str]:
        """All clips as lines of a manifest, always in the same order."""
        return [line for (line,) in self._select("SELECT line FROM clips WHERE event = ? ORDER BY key, position")]

    def clips(self) -> Iterator[Clip]:
        """The same, one by one."""
        return (parse_clip(line, "the index of clips") for line in self.lines())

    def rejects(self) -> Iterator[Reject]:
        """All that was set aside, always in the same order."""
        for (line,) in self._select("SELECT line FROM rejects WHERE event = ? ORDER BY key, position"):
            fields = json.loads(line)
            yield Reject(**fields | {"reason": RejectReason(fields["reason"])})

    def sweep(self) -> None:
        """Remove the audio files that were made for clips and are named by none any more."""
        gone = self._connection.execute("SELECT audio FROM unnamed").fetchall()
        for (audio,) in gone:
            named = self._connection.execute("SELECT 1 FROM clips WHERE audio = ?", (audio,)).fetchone()
            if not named:
                Path(audio).unlink(missing_ok=True)
            with self._connection:
                self._connection.execute("DELETE FROM unnamed WHERE audio = ?", (audio,))

    def _select(self, query: str) -> list[Any]:
        return self._connection.execute(query, (self._event,)).fetchall()

    def _forget(self, key: str) -> None:
        of_key = self._event, key
        self._connection.execute(
            "INSERT OR IGNORE INTO unnamed SELECT audio FROM clips WHERE event = ? AND key = ?", of_key
        )
        for removal in (
            "DELETE FROM items WHERE event = ? AND key = ?",
            "DELETE FROM clips WHERE event = ? AND key = ?",
            "DELETE FROM rejects WHERE event = ? AND key = ?",
        ):
            self._connection.execute(removal, of_key)


def forget_conversation(path: Path, conversation_id: str) -> int:
    """Remove the clips in which a conversation is heard, of all events, mixes too, with their audio; how many.

    Raises:
        BrokenIndex.
    """
    if not path.is_file():
        return 0
    with open_index(path, "") as index:
        connection = index._connection
        heard_in = "SELECT event, key FROM clips WHERE json_extract(line, '$.conversation_id') = ?"
        found = len(connection.execute(heard_in, (conversation_id,)).fetchall())
        set_aside = "SELECT event, key FROM rejects WHERE json_extract(line, '$.conversation_id') = ?"
        keys = connection.execute(f"{heard_in} UNION {set_aside}", (conversation_id, conversation_id))
        with connection:
            for event, key in keys.fetchall():
                ClipIndex(connection, event)._forget(key)
        index.sweep()
    return found


def _is_there(file: Path) -> bool:
    """Clips are not flushed to the disk one by one: a power cut can leave files that are empty or full of zeros."""
    try:
        with file.open("rb", buffering=0) as opened:
            return opened.read(4) == b"RIFF"
    except OSError:
        return False


@contextmanager
def open_index(path: Path, event: str) -> Iterator[ClipIndex]:
    """Open the index, made if it is not there. One process at a time: SQLite waits for no lock while a file is set up.

    Raises:
        BrokenIndex.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path)) as connection:
            # With the write-ahead log a commit costs no wait for the disk; what a power cut takes is made again.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA secure_delete=ON")  # what is forgotten is not left in free pages
            connection.executescript(_SCHEMA)
            yield ClipIndex(connection, event)
    except sqlite3.OperationalError as error:  # locked, read-only, no room: the file itself is whole
        raise BrokenIndex(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise BrokenIndex(f"{path}: {error}; remove the file, and the next export makes all clips anew") from None
