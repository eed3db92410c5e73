"""Where chunks lie is known without decoding them, to the sample."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from event_detection_pipeline.chronicle.audio import decode, decode_part, opus_seconds
from event_detection_pipeline.chronicle.chunks import DatabaseChunks, EncodedChunk, chunk_headers
from event_detection_pipeline.chronicle.layout import decode_between, lay_out
from event_detection_pipeline.demo.utterances import utterances
from event_detection_pipeline_tests.chronicle.whole import whole_audio
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.sounds import RATE, encode, tone

SPEECH = encode(np.concatenate([one.samples for one in next(iter(utterances().values()))])[: 10 * RATE])


@settings(max_examples=25)
@given(st.integers(min_value=1, max_value=3 * RATE))
def test_the_header_tells_how_long_opus_is_after_decoding(length: int):
    data = encode(tone(length / RATE))
    assert round((opus_seconds(data) or 0) * RATE) == len(decode(data)) == length


@pytest.mark.parametrize(
    "data",
    [b"", b"OggS", b"OggS" + b"\0" * 60, b"RIFF", pytest.param(encode(tone(1))[:60], id="cut short"), "text"],
)
def test_what_is_not_a_whole_opus_file_has_no_length(data: bytes | str):
    assert opus_seconds(data) is None


def of_database(database: Database[dict[str, Any]], id_: str) -> DatabaseChunks:
    return DatabaseChunks(database, chunk_headers(database, [id_])[id_])


@pytest.fixture
def mixed(database: Database[dict[str, Any]]) -> tuple[str, DatabaseChunks]:
    """Opus of odd lengths, a WAV of another rate, a missing chunk and a damaged one."""
    wav = encode(tone(0.7, 700, rate=44_100), codec="pcm_s16le", container="wav", rate=44_100)
    chunks = [
        {"chunk_index": 0, "audio_data": encode(tone(1.2345, 300))},
        {"chunk_index": 1, "audio_data": wav},
        {"chunk_index": 3, "audio_data": encode(tone(0.9, 500)), "duration": 0.9},
        {"chunk_index": 4, "audio_data": encode(tone(1.0))[:100], "duration": 1.5},
        {"chunk_index": 5, "audio_data": encode(tone(2.0, 900))},
    ]
    id_ = add_conversation(database, chunks=chunks)
    return id_, of_database(database, id_)


def test_any_window_holds_the_samples_of_the_whole(
    database: Database[dict[str, Any]], mixed: tuple[str, DatabaseChunks]
):
    id_, source = mixed
    whole = whole_audio(database, id_)
    layout = lay_out(source)
    assert layout.seconds == pytest.approx(whole.seconds)
    for start, end in [
        (0.0, layout.seconds),
        (1.0, 1.5),
        (1.1, 4.0),
        (0.25, 0.5),
        (layout.seconds - 1, layout.seconds),
    ]:
        spans = layout.between(start, end)
        chunks = {chunk.index: chunk for chunk in source.fetch([span.index for span in spans])}
        samples, _ = decode_between(spans, chunks, start, end)
        np.testing.assert_allclose(samples, whole.samples[round(start * RATE) : round(end * RATE)], atol=2 / 2**15)


@settings(max_examples=30)
@given(st.floats(0, 9.8), st.floats(0.001, 10))
def test_a_part_of_a_chunk_is_what_decoding_all_of_it_gives(start: float, seconds: float):
    end = min(start + seconds, 10.0)
    part = decode_part(SPEECH, start, end)
    expected = decode(SPEECH)[round(start * RATE) : round(end * RATE)]
    np.testing.assert_allclose(part, expected, atol=2 / 2**15)


def test_a_window_says_where_nothing_was_heard(database: Database[dict[str, Any]], mixed: tuple[str, DatabaseChunks]):
    id_, source = mixed
    whole = whole_audio(database, id_)
    layout = lay_out(source)
    chunks = {chunk.index: chunk for chunk in source.fetch(range(source.count))}
    _, gaps = decode_between(layout.spans, chunks, 0.0, layout.seconds + 1)
    assert np.allclose(gaps, [*whole.gaps, (layout.seconds, layout.seconds + 1)], atol=1e-3)


def test_a_window_needs_only_the_chunks_it_reaches_into(mixed: tuple[str, DatabaseChunks]):
    layout = lay_out(mixed[1])
    assert [span.index for span in layout.between(0.0, 1.2)] == [0]
    assert [span.index for span in layout.between(1.2, 1.3)] == [0, 1]


def test_a_damaged_chunk_keeps_its_length_wherever_it_is_measured():
    whole = encode(tone(3.0))
    cut_off = EncodedChunk(0, whole[: whole.rfind(b"OggS") + 60], seconds=10.0)
    layout = lay_out_of(cut_off)
    samples, gaps = decode_between(layout.spans, {0: cut_off}, 0.0, layout.seconds)
    assert layout.seconds == 3.0
    assert np.corrcoef(samples[:RATE], tone(1.0))[0, 1] > 0.9
    ((start, end),) = gaps
    assert end == 3.0
    assert not samples[round(start * RATE) :].any()


def lay_out_of(chunk: EncodedChunk):
    class One:
        count = 1

        def fetch(self, indices: object):
            yield chunk

    return lay_out(One())
