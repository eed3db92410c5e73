"""How fast an export is: cold, and with a little new work on a long history; beside the naive loop.

    python -m benchmarks.export --quick
    python -m benchmarks.export --json results.json

The household is made of the demo's speech, encoded as Chronicle encodes it; lengths follow LENGTHS. The naive loop does
what the original export implies, as well as it can be done in a loop: entry after entry, it decodes the whole
conversation and writes the same clips (checked, sample by sample). Each measurement runs in a process of its own.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from pymongo.database import Database

from benchmarks.common import database_server, finish, measured, parser, print_row
from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS, CONVERSATIONS, TRAINING_STASH, connect
from event_detection_pipeline.chronicle.queries import iter_stash
from event_detection_pipeline.clips.export import export_clips, write_training_manifest
from event_detection_pipeline.clips.manifest import Clip
from event_detection_pipeline.clips.wav import wav_bytes
from event_detection_pipeline.config import SAMPLE_RATE, EventSettings, Settings
from event_detection_pipeline.demo.opus import encode_ogg_opus
from event_detection_pipeline.demo.utterances import utterances
from event_detection_pipeline_tests.chronicle.whole import whole_audio

EVENT = EventSettings(name="chime")
CHUNK_SECONDS = 10
# How many of a hundred conversations have so many seconds: most are short, a few go on for hours, 7 minutes on average.
LENGTHS = {20: 25, 60: 25, 180: 25, 600: 17, 1800: 6, 7200: 2}
QUICK_LENGTHS = {20: 4, 60: 3, 180: 2, 600: 1}
NEW_ENTRIES = 50
NAIVE_ENTRIES = 100
_PAUSE_SECONDS = 0.6
_NAIVE_FOLDER = "naive"
_TOLERANCE = 2 / 2**15  # two steps of 16-bit audio


@dataclass(frozen=True)
class Speech:
    """All of the demo's speech as one endless loop: chunks of ten seconds, and its words' times."""

    chunks: list[bytes]
    words: list[tuple[str, float, float]]

    @property
    def seconds(self) -> int:
        return len(self.chunks) * CHUNK_SECONDS


@cache
def speech() -> Speech:
    words: list[tuple[str, float, float]] = []
    parts: list[np.ndarray] = []
    position = 0.0
    for voice in utterances().values():
        for utterance in voice:
            words += [(word.text, position + word.start, position + word.end) for word in utterance.words]
            parts += [utterance.samples, np.zeros(round(_PAUSE_SECONDS * SAMPLE_RATE), np.float32)]
            position += (len(parts[-2]) + len(parts[-1])) / SAMPLE_RATE
    samples = np.concatenate(parts)
    size = CHUNK_SECONDS * SAMPLE_RATE
    count = len(samples) // size
    chunks = [encode_ogg_opus(samples[start : start + size]) for start in range(0, count * size, size)]
    return Speech(chunks, [word for word in words if word[2] < count * CHUNK_SECONDS])


def add_entries(database: Database[dict[str, Any]], first: int, count: int, lengths: dict[int, int]) -> float:
    """Stash conversations number `first` and following, each always the same; how many hours they are."""
    # Whole tens or hundreds always have the same mixture of lengths, so that they can be compared.
    mixture = [seconds for seconds, share in lengths.items() for _ in range(share)]
    Random(0).shuffle(mixture)
    hours = 0.0
    for number in range(first, first + count):
        seconds = mixture[number % len(mixture)]
        _add_entry(database, number, seconds, Random(number))
        hours += seconds / 3600
    return hours


def _add_entry(database: Database[dict[str, Any]], number: int, seconds: int, random: Random) -> None:
    loop = speech()
    offset = random.randrange(len(loop.chunks))
    words = [
        {"word": text, "start": start + shift, "end": end + shift}
        for turn in range(seconds // loop.seconds + 2)
        for shift in [turn * loop.seconds - offset * CHUNK_SECONDS]
        for text, start, end in loop.words
        if start + shift >= 0 and end + shift <= seconds
    ]
    said = [word["word"] for word in words]
    if number % 2 and said:
        said.insert(random.randrange(len(said)), EVENT.source_tag)
    id_, version = f"conversation-{number:06d}", f"version-{number:06d}"
    database[CONVERSATIONS].insert_one(
        {
            "conversation_id": id_,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
            "active_transcript_version": version,
            "transcript_versions": [{"version_id": version, "transcript": " ".join(said), "words": words}],
        }
    )
    database[AUDIO_CHUNKS].insert_many(
        [
            {
                "conversation_id": id_,
                "chunk_index": index,
                "audio_data": loop.chunks[(offset + index) % len(loop.chunks)],
                "duration": float(CHUNK_SECONDS),
            }
            for index in range(seconds // CHUNK_SECONDS)
        ]
    )
    database[TRAINING_STASH].insert_one(
        {
            "conversation_id": id_,
            "transcript_version_id": version,
            "transcript": " ".join(said),
            "created_at": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
        }
    )


def ours(uri: str, name: str, data_dir: Path) -> int:
    """Export, and write the manifest; the number of clips."""
    settings = Settings(data_dir=data_dir, events=(EVENT,))
    report = export_clips(connect(uri, name), settings, EVENT)
    write_training_manifest(settings, EVENT, min_samples=0)
    return len(report.lines)


def naive(uri: str, name: str, data_dir: Path, entries: int) -> int:
    """One entry at a time, the whole conversation decoded, for the clips that `ours` has listed; their number."""
    from event_detection_pipeline.clips.export import index_path
    from event_detection_pipeline.clips.index import open_index

    database = connect(uri, name)
    with open_index(index_path(Settings(data_dir=data_dir, events=(EVENT,))), EVENT.name) as index:
        wanted: dict[str, list[Clip]] = {}
        for clip in index.clips():
            wanted.setdefault(clip.conversation_id, []).append(clip)
    folder = data_dir / _NAIVE_FOLDER
    folder.mkdir()
    written = 0
    for number, entry in enumerate(iter_stash(database)):
        if number == entries:
            break
        samples = whole_audio(database, entry["conversation_id"]).samples
        for clip in wanted[entry["conversation_id"]]:
            data = wav_bytes(samples[round(clip.start * SAMPLE_RATE) : round(clip.end * SAMPLE_RATE)])
            (folder / Path(clip.audio).name).write_bytes(data)
            written += 1
    return written


def compare(data_dir: Path) -> None:
    """See that both ways have written the same, sample by sample."""
    for file in (data_dir / _NAIVE_FOLDER).iterdir():
        clip = Settings(data_dir=data_dir).audio_dir / file.name
        if not np.allclose(decode(file.read_bytes()), decode(clip.read_bytes()), atol=_TOLERANCE):
            raise AssertionError(f"{clip} is not what the naive loop writes")


def run(
    uri: str, folder: Path, sizes: list[int], lengths: dict[int, int], naive_entries: int
) -> Iterator[dict[str, Any]]:
    """A row for each size of the history."""
    for size in sizes:
        name, data_dir = f"entries_{size}", folder / f"entries_{size}"
        database = connect(uri, name)
        database[CONVERSATIONS].create_index("conversation_id", unique=True)
        database[AUDIO_CHUNKS].create_index([("conversation_id", 1), ("chunk_index", 1)])
        hours = add_entries(database, 0, size, lengths)
        cold, memory, clips = measured(ours, uri, name, data_dir)
        compared = min(size, naive_entries)
        loop, loop_memory, _ = measured(naive, uri, name, data_dir, compared)
        compare(data_dir)
        again, _, _ = measured(ours, uri, name, data_dir)
        # The same new entries whatever the history: numbers beyond every size.
        add_entries(database, 10**6, NEW_ENTRIES, lengths)
        new, _, _ = measured(ours, uri, name, data_dir)
        database.client.drop_database(name)
        yield {
            "entries": size,
            "hours": round(hours, 2),
            "clips": clips,
            "cold_s": round(cold, 2),
            "cold_entries_per_s": round(size / cold, 1),
            "cold_hours_per_s": round(hours / cold, 2),
            "cold_peak_mb": round(memory),
            "naive_entries": compared,
            "naive_s": round(loop, 2),
            "naive_entries_per_s": round(compared / loop, 1),
            "naive_peak_mb": round(loop_memory),
            "cold_vs_naive": round((loop / compared) / (cold / size), 2),
            "nothing_new_s": round(again, 2),
            f"new_{NEW_ENTRIES}_s": round(new, 2),
        }


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The headline: how much faster than the loop, and what the length of the history costs."""
    first, last = rows[0], rows[-1]
    new = f"new_{NEW_ENTRIES}_s"
    return {
        "cold_vs_naive": last["cold_vs_naive"],
        f"incremental_{last['entries']}_vs_{first['entries']}": round(last[new] / first[new], 2),
    }


def main() -> None:
    options = parser(__doc__).parse_args()
    sizes = [10, 60] if options.quick else [200, 1000, 5000]
    lengths = QUICK_LENGTHS if options.quick else LENGTHS
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, database_server() as uri:
        for row in run(uri, Path(folder), sizes, lengths, NAIVE_ENTRIES):
            rows.append(row)
            print_row(row)
    finish(rows, ratios(rows), options.json)


if __name__ == "__main__":
    main()
