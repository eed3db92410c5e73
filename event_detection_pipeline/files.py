"""Files that are there in full or not at all."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` beside `path` and rename it there, so that no reader ever sees half a file.

    Args:
        durable: wait until the disk has it (milliseconds), so that it survives a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def append_line(path: Path, record: object) -> None:
    """Add a record as a line of JSON to a file, and wait until the disk has it.

    A line that a power cut left unfinished is ended first, so that it spoils only itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
    with path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def folder_in_full(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` that takes its place (which must be free or empty) when the block ends well.

    Raises:
        OSError: the place was taken meanwhile. The hidden folder, which it names, stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    draft.rename(path)
