"""Recordings of an event, and of other sounds, that a person gave: kept as WAV files with what they are.

A recording's split is decided when it comes and kept for ever: with five recordings a hash would often leave the test
without one.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from event_detection_pipeline.chronicle.audio import AudioTooLong, UndecodableAudio, decode
from event_detection_pipeline.clips.rejects import Reject, RejectReason, SetAside
from event_detection_pipeline.clips.splits import Split
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline.config import SAMPLE_RATE, ClipSettings, EventSettings, Settings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline.files import write_atomically

RECORDINGS = "recordings"
SUFFIXES = (".wav", ".mp3", ".m4a", ".flac", ".ogg", ".opus")
MIN_RECORDING_SECONDS = 0.1


class NoRecordings(PipelineError):
    """A folder, or a file, without a single usable recording."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound: `recording` is its id, `file` its WAV file's name, `name` the name it came with."""

    recording: str
    file: str
    name: str
    contains_event: bool
    split: Split
    seconds: float
    added_at: str


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """What became of the files given: new ones, ones that were known (perhaps with another answer), unusable ones."""

    added: tuple[Recording, ...]
    known: int
    rejects: tuple[Reject, ...]


def add_recordings(
    settings: Settings, event: EventSettings, audio: Path, *, contains_event: bool = True
) -> RecordingReport:
    """Take in a file, or all audio files of a folder (wav, mp3, m4a, flac, ogg, opus), for the next export.

    A file that was given before is not taken twice; it gets the new answer.

    Raises:
        NoRecordings: nothing there can be used.
    """
    files = _audio_files(audio)
    recordings = {recording.recording: recording for recording in list_recordings(settings, event)}
    added: list[Recording] = []
    rejects: list[Reject] = []
    known = 0
    for file in files:
        data = file.read_bytes()
        id_ = hashlib.sha256(data).hexdigest()[:16]
        if id_ in recordings:
            known += 1
            recordings[id_] = replace(recordings[id_], contains_event=contains_event)
            continue
        try:
            seconds = _keep(settings, event, id_, data)
        except SetAside as error:
            rejects.append(Reject(error.reason, RECORDINGS, str(file), detail=error.detail))
            continue
        alike: list[Split] = [one.split for one in recordings.values() if one.contains_event == contains_event]
        split = next_split(alike, settings.clips)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        recordings[id_] = Recording(id_, f"{id_}.wav", file.name, contains_event, split, seconds, now)
        added.append(recordings[id_])
    if not added and not known:
        reasons = "; ".join(f"{Path(reject.document_id).name}: {reject.detail}" for reject in rejects[:5])
        raise NoRecordings(f"{audio}: no recording can be used ({reasons})")
    _write(settings, event, recordings.values())
    return RecordingReport(tuple(added), known, tuple(rejects))


def list_recordings(settings: Settings, event: EventSettings) -> list[Recording]:
    """All recordings of an event, in the order they came; those whose file was removed are gone."""
    registry = _registry(settings, event)
    if not registry.is_file():
        return []
    try:
        lines = registry.read_text(encoding="utf-8").splitlines()
        recordings = [Recording(**json.loads(line)) for line in lines if line]
    except (ValueError, TypeError) as error:
        raise PipelineError(f"{registry}: {error}; repair it, or remove it and add the recordings again") from None
    return [recording for recording in recordings if path_of(settings, event, recording).is_file()]


def path_of(settings: Settings, event: EventSettings, recording: Recording) -> Path:
    """The recording's WAV file."""
    return settings.recordings_dir / event.name / recording.file


def next_split(so_far: Sequence[Split], clips: ClipSettings) -> Split:
    """The split that lags furthest behind its share once one more recording is there."""
    shares: dict[Split, float] = {
        "train": 1 - clips.validation_fraction - clips.test_fraction,
        "test": clips.test_fraction,
        "validation": clips.validation_fraction,
    }
    count = len(so_far) + 1
    return max(shares, key=lambda split: shares[split] * count - so_far.count(split))


def _audio_files(audio: Path) -> list[Path]:
    if audio.is_file():
        return [audio]
    if not audio.is_dir():
        raise NoRecordings(f"{audio}: there is no such file or folder")
    files = sorted(file for file in audio.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise NoRecordings(f"{audio}: no audio file in it ({', '.join(SUFFIXES)})")
    return files


def _keep(settings: Settings, event: EventSettings, id_: str, data: bytes) -> float:
    """Write the recording as 16 kHz WAV and return its length in seconds."""
    try:
        samples = decode(data, max_seconds=settings.clips.max_seconds)
    except UndecodableAudio as error:
        raise SetAside(RejectReason.UNDECODABLE_AUDIO, str(error)) from error
    except AudioTooLong as error:
        raise SetAside(RejectReason.TOO_LONG, f"{error}; cut it to the event") from error
    seconds = len(samples) / SAMPLE_RATE
    if seconds < MIN_RECORDING_SECONDS or not samples.any():
        raise SetAside(RejectReason.TOO_SHORT, f"{seconds:.2f} s, or only silence")
    write_atomically(settings.recordings_dir / event.name / f"{id_}.wav", wav_bytes(samples))
    return round(seconds, 3)


def _registry(settings: Settings, event: EventSettings) -> Path:
    return settings.recordings_dir / event.name / "recordings.jsonl"


def _write(settings: Settings, event: EventSettings, recordings: Iterable[Recording]) -> None:
    lines = (json.dumps(asdict(recording), ensure_ascii=False) + "\n" for recording in recordings)
    write_atomically(_registry(settings, event), "".join(lines).encode())
