"""Encoded chunks come from the database, a stash entry or a WAV file, and look the same."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import decode
from event_detection_pipeline.chronicle.chunks import DatabaseChunks, StoredChunks, WavChunks, chunk_headers
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.sounds import encode, tone


def test_only_the_chunks_asked_for_are_fetched_in_the_order_asked(database: Database[dict[str, Any]]):
    chunks = [{"chunk_index": index, "audio_data": bytes([index]), "duration": 7} for index in range(100)]
    id_ = add_conversation(database, chunks=chunks)
    source = DatabaseChunks(database, chunk_headers(database, [id_])[id_])
    asked = [*range(90, 40, -1), 3]
    assert source.count == 100
    assert [(chunk.index, chunk.data) for chunk in source.fetch(asked)] == [(index, bytes([index])) for index in asked]


def test_headers_of_many_conversations_come_in_one_answer(database: Database[dict[str, Any]]):
    ids = [add_conversation(database, seconds=0.2) for _ in range(3)]
    headers = chunk_headers(database, [*ids, "nobody"])
    assert [len(headers[id_]) for id_ in [*ids, "nobody"]] == [1, 1, 1, 0]
    assert "audio_data" not in headers[ids[0]][0]


def test_a_stash_entry_gives_its_copies_with_gaps_where_some_are_missing():
    copies = [
        {"chunk_index": 2, "audio_data": base64.b64encode(b"two").decode(), "duration": 4.0},
        {"chunk_index": 0, "audio_data": "", "duration": 10.0},
        "no chunk",
    ]
    source = StoredChunks(copies)
    chunks = list(source.fetch(range(source.count)))
    assert [(chunk.index, chunk.data, chunk.seconds) for chunk in chunks] == [
        (0, "", 10.0),
        (1, None, 10.0),
        (2, base64.b64encode(b"two").decode(), 4.0),
    ]


@pytest.mark.parametrize("copies", [None, "text", [], [None]])
def test_a_stash_entry_may_carry_no_copies(copies: object):
    assert StoredChunks(copies).count == 0


def test_a_wav_file_is_read_in_pieces_that_make_the_whole(tmp_path: Path):
    path = tmp_path / "long.wav"
    path.write_bytes(encode(tone(23.5, rate=8_000), codec="pcm_s16le", container="wav", rate=8_000))
    source = WavChunks(path)
    pieces = [decode(chunk.data) for chunk in source.fetch(range(source.count)) if chunk.data]
    assert [len(piece) for piece in pieces] == [160_000, 160_000, 56_000]
    assert np.corrcoef(np.concatenate(pieces), tone(23.5))[0, 1] > 0.999


def test_a_file_that_is_no_wav_has_no_chunks(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert WavChunks(tmp_path / "a.wav").count == 0
    assert WavChunks(tmp_path / "missing.wav").count == 0
