"""Checkpoints: where an interrupted training goes on, and how a whole one is told from one that was being written."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.files import write_atomically

logger = logging.getLogger(__name__)

SEAL = "complete.json"  # {file name: SHA-256} of all other files; written last
AUDIO = "audio"  # what a training holds on to
STALE_DAYS = 30  # what was interrupted longer ago is not gone on with: its manifest has changed since


class AlreadyTraining(PipelineError):
    """Another process is in the middle of the very same training."""


def training_key(*parts: object) -> str:
    """A name for a training that is the same when everything it depends on is: parts by their repr(), and the
    versions of the libraries that wrote its checkpoints."""
    versions = [metadata.version(library) for library in ("torch", "transformers", "peft")]
    return hashlib.sha256(repr((parts, versions)).encode()).hexdigest()[:16]


@contextlib.contextmanager
def checkpoint_folder(root: Path, key: str) -> Iterator[Path]:
    """The folder for the checkpoints of one training: kept when the block fails or is killed, removed when it ends
    well. Folders of other trainings that nobody went on with for STALE_DAYS are removed too.

    The audio that is held in it (`hold`) is removed however the block ends; what a killed training held, here or by
    `remove_held`.

    Raises:
        AlreadyTraining: another process holds it.
    """
    folder = root / key
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(root, keep=folder)
    remove_held(root)
    with _locked(folder):
        (folder / AUDIO).mkdir(exist_ok=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder / AUDIO, ignore_errors=True)
        shutil.rmtree(folder)


def hold(audio: Path, folder: Path) -> Path:
    """A file of a training's own, in its checkpoint folder, that stays as an audio file is now: an export that runs
    meanwhile removes clips, or writes them anew. Raises OSError: it is not there any more."""
    own = folder / AUDIO / f"{hashlib.sha256(os.fsencode(audio)).hexdigest()}{audio.suffix}"
    if not own.exists():
        try:
            os.link(audio.resolve(), own)
        except OSError:  # it is on another disk, or somebody else's
            shutil.copyfile(audio, own)
    return own


def remove_held(root: Path) -> None:
    """Remove the audio that trainings held which are not under way any more: nobody else would, after a kill."""
    for audio in root.glob(f"*/{AUDIO}"):
        with contextlib.suppress(AlreadyTraining, FileNotFoundError), _locked(audio.parent):
            shutil.rmtree(audio)


def seal(checkpoint: Path) -> None:
    """Mark a checkpoint as whole. Until then `newest_checkpoint` does not take it."""
    write_atomically(checkpoint / SEAL, json.dumps(_digests(checkpoint)).encode())


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in a folder, or None. Those that are not whole are removed."""
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir()]
    for checkpoint in sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        if _is_whole(checkpoint):
            return checkpoint
        logger.warning("%s was being written when its training ended: it is not used", checkpoint)
        shutil.rmtree(checkpoint)
    return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it, also after kill -9
        except BlockingIOError:
            raise AlreadyTraining(
                f"another process is training on the same manifest with the same settings ({folder}); wait for it"
            ) from None
        yield
    finally:
        os.close(held)


def _is_whole(checkpoint: Path) -> bool:
    try:
        return json.loads((checkpoint / SEAL).read_bytes()) == _digests(checkpoint)
    except (OSError, ValueError):
        return False


def _digests(checkpoint: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != SEAL:
            with path.open("rb") as file:
                digests[str(path.relative_to(checkpoint))] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _remove_stale(root: Path, keep: Path) -> None:
    for folder in root.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another training has just ended
            if folder != keep and time.time() - folder.stat().st_mtime > STALE_DAYS * 86_400:
                shutil.rmtree(folder, ignore_errors=True)
