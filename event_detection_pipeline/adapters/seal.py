"""The seal of an adapter's folder: the SHA-256 of each of its files, written when it is complete, checked when it is
loaded. It finds what a disk, a copy or a hand has changed; it is no signature.

SHA256SUMS is in the format of coreutils: `cd sneeze_v3 && sha256sum -c SHA256SUMS` checks it too.
"""

import hashlib
import logging
import os
from pathlib import Path

from event_detection_pipeline.errors import PipelineError

SUMS_FILE = "SHA256SUMS"
WEIGHTS_FILE = "adapter_model.safetensors"
PICKLED_WEIGHTS_FILE = "adapter_model.bin"

logger = logging.getLogger(__name__)


class BrokenAdapter(PipelineError):
    """An adapter's folder cannot be used; the message names the file."""


def seal(folder: Path) -> None:
    """Write SHA256SUMS of all files below the folder, and wait until the disk has them all: a power cut spares them."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / SUMS_FILE)
    sums = folder / SUMS_FILE
    sums.write_text("".join(f"{_sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files), "utf-8")
    for path in (*files, sums, folder):
        sync(path)


def verify(folder: Path) -> None:
    """See that a folder is as it was sealed and that its weights are not a pickle, which runs code when it is read.

    An adapter without SHA256SUMS (made before they were written, or elsewhere) is let through with a warning.

    Raises:
        BrokenAdapter: a file is missing or was changed, or there are no safetensors.
    """
    if not (folder / WEIGHTS_FILE).is_file():
        found = (
            f"; {PICKLED_WEIGHTS_FILE} is a pickle and is not read" if (folder / PICKLED_WEIGHTS_FILE).exists() else ""
        )
        raise BrokenAdapter(f"{folder / WEIGHTS_FILE} is missing{found}; train the adapter again")
    sums = folder / SUMS_FILE
    if not sums.is_file():
        logger.warning("adapter %s has no %s: its files are used unchecked", folder.name, SUMS_FILE)
        return
    wanted_sums = [line.partition("  ") for line in sums.read_text("utf-8", errors="replace").splitlines()]
    if WEIGHTS_FILE not in [name for _, _, name in wanted_sums]:
        raise BrokenAdapter(f"{sums} does not name {WEIGHTS_FILE}; copy or train the adapter again")
    for wanted, _, name in wanted_sums:
        file = folder / name
        if not name or not file.is_file():
            raise BrokenAdapter(f"{file} is missing, though {SUMS_FILE} names it; copy or train the adapter again")
        if _sha256(file) != wanted:
            raise BrokenAdapter(f"{file} was changed: it does not match {SUMS_FILE}; copy or train the adapter again")


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
