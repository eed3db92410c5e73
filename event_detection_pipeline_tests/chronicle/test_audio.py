"""Audio comes back sample for sample and at its time, in whatever form the app stored it."""

import base64
import io
import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import (
    AudioTooLong,
    UndecodableAudio,
    decode,
    decode_file,
)
from event_detection_pipeline.chronicle.chunks import MAX_SECONDS
from event_detection_pipeline_tests.chronicle.whole import whole_audio
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.sounds import RATE, encode, tone


def similarity(samples: np.ndarray, other: np.ndarray) -> float:
    """Correlation without any shift: 1 where both are the same sound at the same time."""
    return float(np.corrcoef(samples, other)[0, 1])


@pytest.mark.parametrize("length", [RATE * 10, RATE * 10 + 1, 100_003, 3333])
def test_opus_comes_back_with_exactly_the_samples_that_went_in(length: int):
    samples = tone(length / RATE)
    assert similarity(decode(encode(samples)), samples) > 0.9


@pytest.mark.parametrize(
    ("codec", "container", "rate"),
    [("pcm_s16le", "wav", 8_000), ("pcm_s16le", "wav", 44_100), ("pcm_f32le", "wav", 48_000), ("flac", "flac", 22_050),
     ("mp3", "mp3", 44_100), ("libopus", "ogg", 48_000)],
)  # fmt: skip
def test_any_container_and_rate_becomes_16_khz(codec: str, container: str, rate: int):
    samples = decode(encode(tone(2.0, rate=rate), codec=codec, container=container, rate=rate))
    assert samples.dtype == np.float32
    assert similarity(samples, tone(2.0)) > 0.97


def test_base64_text_is_decoded_like_the_file_it_holds():
    file = encode(tone(1.0))
    text = base64.encodebytes(file).decode()
    for form in (text, text.encode(), f"data:audio/ogg;base64,{text}"):
        np.testing.assert_array_equal(decode(form), decode(file))


def test_stereo_becomes_the_mean_of_its_channels():
    both = np.stack([tone(1.0, 300), tone(1.0, 700)])
    file = encode(both, codec="pcm_s16le", container="wav")
    np.testing.assert_allclose(decode(file), both.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(
    "data", [b"", "", b"\x00" * 500, "some raw string", b"OggS" + b"\x01" * 300, b"RIFF1234WAVEfmt "]
)
def test_bytes_without_audio_are_refused(data: bytes | str):
    with pytest.raises(UndecodableAudio):
        decode(data)


def test_a_file_with_a_picture_and_no_sound_is_refused():
    with pytest.raises(UndecodableAudio):
        decode(encode(tone(1.0))[:200])


def chunk(index: object, seconds: float = 1.0, frequency: float = 440.0, **fields: object) -> dict[str, Any]:
    data = encode(tone(seconds, frequency))
    return {"chunk_index": index, "audio_data": data, "duration": seconds, **fields}


def at(samples: np.ndarray, start: float, seconds: float) -> np.ndarray:
    return samples[round(start * RATE) : round((start + seconds) * RATE)]


def test_a_missing_chunk_leaves_a_gap_of_its_length(database: Database[dict[str, Any]]):
    audio = whole_audio(database, add_conversation(database, chunks=[chunk(0), chunk(2, frequency=700)]))
    assert audio.gaps == ((1.0, 2.0),)
    assert audio.seconds == 3.0
    assert not at(audio.samples, 1, 1).any()
    assert similarity(at(audio.samples, 2, 1), tone(1.0, 700)) > 0.9
    assert [piece.problem for piece in audio.pieces] == [None, "chunk 1 is missing", None]


@pytest.mark.parametrize("data", [b"", b"OggS broken", None, 17])
def test_a_damaged_chunk_leaves_a_gap_of_its_length(database: Database[dict[str, Any]], data: object):
    chunks = [chunk(0), chunk(1, audio_data=data) | {"duration": 2.5}, chunk(2, frequency=700)]
    audio = whole_audio(database, add_conversation(database, chunks=chunks))
    assert audio.gaps == ((1.0, 3.5),)
    assert similarity(at(audio.samples, 3.5, 1), tone(1.0, 700)) > 0.9


def test_of_a_twofold_index_the_newest_counts(database: Database[dict[str, Any]]):
    first_job = [chunk(0, frequency=300), chunk(1, frequency=300)]
    second_job = [chunk(0, frequency=700), chunk(1, frequency=700), chunk(2, frequency=700)]
    audio = whole_audio(database, add_conversation(database, chunks=first_job + second_job))
    assert audio.seconds == 3.0
    assert similarity(at(audio.samples, 0, 1), tone(1.0, 700)) > 0.9


def test_soft_deleted_chunks_are_not_heard(database: Database[dict[str, Any]]):
    audio = whole_audio(
        database,
        add_conversation(database, chunks=[chunk(0), chunk(1, deleted=True), chunk(2), chunk(3, deleted=None)]),
    )
    assert audio.gaps == ((1.0, 2.0),)
    assert audio.seconds == 4.0


def test_a_chunk_begins_where_the_one_before_ended_whatever_its_start_time_says(database: Database[dict[str, Any]]):
    chunks = [chunk(0, 1.5, start_time=0.0), chunk(1, 1.0, frequency=700, start_time=1.0)]
    audio = whole_audio(database, add_conversation(database, chunks=chunks))
    assert similarity(at(audio.samples, 1.5, 1), tone(1.0, 700)) > 0.9


def test_chunks_of_different_containers_and_odd_indices_make_one_conversation(database: Database[dict[str, Any]]):
    wav = encode(tone(1.0, 700, rate=8_000), codec="pcm_s16le", container="wav", rate=8_000)
    chunks = [chunk(1.0, audio_data=wav), chunk(0), chunk(2, audio_data=base64.b64encode(wav).decode())]
    odd = [chunk(None), chunk(-1), chunk("3"), chunk(10**12)]
    audio = whole_audio(database, add_conversation(database, chunks=chunks + odd))
    assert (audio.seconds, audio.gaps) == (3.0, ())
    assert similarity(at(audio.samples, 1, 2), np.tile(tone(1.0, 700), 2)) > 0.9


def test_reading_stops_at_the_limit(database: Database[dict[str, Any]]):
    conversation_id = add_conversation(database, chunks=[chunk(index) for index in range(4)])
    with pytest.raises(AudioTooLong):
        whole_audio(database, conversation_id, max_seconds=3.9)
    assert whole_audio(database, conversation_id, max_seconds=4).seconds == 4


def test_pieces_come_one_chunk_at_a_time_and_tile_the_conversation(database: Database[dict[str, Any]]):
    chunks = [chunk(index, 0.2) for index in range(70) if index != 40]
    pieces = whole_audio(database, add_conversation(database, chunks=chunks)).pieces
    assert len(pieces) == 70
    assert all(abs(one.end - next_.start) < 1e-9 for one, next_ in pairwise(pieces))
    assert [piece.problem for piece in pieces if piece.problem] == ["chunk 40 is missing"]


@pytest.mark.parametrize(
    ("codec", "container", "rate"), [("libopus", "ogg", 48_000), ("pcm_s16le", "wav", 44_100), ("flac", "flac", 16_000)]
)
def test_a_file_in_pieces_is_the_same_as_at_once(codec: str, container: str, rate: int):
    file = encode(tone(95.0, rate=rate), codec=codec, container=container, rate=rate)
    pieces = list(decode_file(io.BytesIO(file)))
    assert len(pieces) > 2
    np.testing.assert_array_equal(np.concatenate(pieces), decode(file))


def test_a_file_may_be_longer_than_any_conversation():
    seconds = round(MAX_SECONDS) + 60
    file = encode(np.zeros(seconds * 1000, np.float32), codec="pcm_s16le", container="wav", rate=1000)
    assert sum(map(len, decode_file(io.BytesIO(file)))) == pytest.approx(seconds * RATE, abs=RATE)


def test_a_long_file_is_decoded_in_the_memory_of_a_short_one():
    file = io.BytesIO(encode(np.zeros(600 * RATE, np.float32), codec="pcm_s16le", container="wav"))
    tracemalloc.start()
    assert sum(map(len, decode_file(file))) == 600 * RATE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 600 * RATE * 4 / 4


def test_a_file_without_audio_is_refused_in_pieces_too():
    for data in (b"", b"no audio at all", b"RIFF1234WAVEfmt "):
        with pytest.raises(UndecodableAudio):
            list(decode_file(io.BytesIO(data)))
