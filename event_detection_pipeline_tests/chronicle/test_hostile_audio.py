"""No bytes make a reader of audio crash, hang or take all memory: it gives samples, or says that there are none."""

import base64
import tracemalloc
from io import BytesIO

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from event_detection_pipeline.chronicle.audio import (
    AudioTooLong,
    UndecodableAudio,
    decode,
    decode_chunk,
    decode_part,
    file_bytes,
    opus_seconds,
)
from event_detection_pipeline.chronicle.chunks import MAX_CHUNK_SECONDS, EncodedChunk, StoredChunks, WavChunks
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline_tests.sounds import encode, tone

FILES = [
    encode(tone(1.0)),
    encode(np.stack([tone(0.5, 300), tone(0.5, 700)])),
    encode(tone(0.5), codec="pcm_s16le", container="wav"),
    encode(tone(0.5, rate=44_100), codec="flac", container="flac", rate=44_100),
    encode(tone(0.5, rate=44_100), codec="mp3", container="mp3", rate=44_100),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file with bytes changed, cut out, doubled, or with another file's inside."""
    file = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(file)))
        length = draw(st.integers(0, 200))
        what = draw(st.sampled_from(["change", "cut", "double", "splice", "end"]))
        if what == "change":
            new = draw(st.binary(min_size=1, max_size=8))
            file[place : place + len(new)] = new
        elif what == "cut":
            del file[place : place + length]
        elif what == "double":
            file[place:place] = file[place : place + length]
        elif what == "splice":
            other = draw(st.sampled_from(FILES))
            file[place:place] = other[: draw(st.integers(0, len(other)))]
        else:
            del file[place:]
    return bytes(file)


@settings(max_examples=150)
@given(damaged())
def test_a_damaged_file_gives_finite_samples_or_an_error(file: bytes):
    try:
        samples = decode(file)
    except (UndecodableAudio, AudioTooLong):
        return
    assert samples.dtype == np.float32 and samples.ndim == 1 and np.isfinite(samples).all()


@settings(max_examples=100)
@given(damaged(), st.floats(0, 2), st.floats(0, 2))
def test_a_part_of_a_damaged_file_is_no_longer_than_asked_for(file: bytes, start: float, length: float):
    try:
        samples = decode_part(file, start, start + length)
    except (UndecodableAudio, AudioTooLong):
        return
    assert len(samples) <= round((start + length) * SAMPLE_RATE) - round(start * SAMPLE_RATE)


@settings(max_examples=100)
@given(damaged() | st.binary(max_size=300) | st.text(max_size=300))
def test_a_damaged_chunk_is_silence_of_its_length_or_has_samples(data: bytes | str):
    samples, problem = decode_chunk(EncodedChunk(7, data, 2.0))
    assert problem is None or (problem.startswith("chunk 7: ") and not samples.any())
    assert len(samples) <= MAX_CHUNK_SECONDS * SAMPLE_RATE
    assert 0 < (opus_seconds(data) or 1) <= MAX_CHUNK_SECONDS


@given(st.text() | st.binary() | st.text(alphabet="ABCab+/= \n", max_size=80))
def test_what_is_almost_base64_is_bytes(data: str | bytes):
    assert isinstance(file_bytes(data), bytes)
    assert isinstance(file_bytes(base64.b64encode(FILES[0])[: len(data)]), bytes)


wild = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)


@example([{"chunk_index": 0, "duration": 2 * MAX_CHUNK_SECONDS}])
@given(st.lists(st.dictionaries(st.sampled_from(["_id", "chunk_index", "duration", "audio_data"]), wild) | wild))
def test_copies_of_any_form_in_a_stash_entry_have_lengths_that_make_sense(copies: list[object]):
    source = StoredChunks(copies)
    chunks = list(source.fetch(range(source.count)))
    assert all(0 < chunk.seconds <= MAX_CHUNK_SECONDS for chunk in chunks)
    assert all(chunk.data is None or isinstance(chunk.data, bytes | str) for chunk in chunks)


@settings(max_examples=60)
@given(header=st.binary(max_size=44), data=st.binary(max_size=200))
def test_a_wav_file_with_any_header_has_chunks_that_can_be_fetched_or_none(
    tmp_path_factory: pytest.TempPathFactory, header: bytes, data: bytes
):
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    path.write_bytes(header + FILES[2][len(header) : 44] + data)
    source = WavChunks(path)
    for chunk in source.fetch(range(min(source.count, 3))) if source.count else ():
        samples, problem = decode_chunk(chunk)
        assert problem or np.isfinite(samples).all()


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1", "7.1"])
def test_any_number_of_channels_becomes_their_mean(layout: str):
    samples = decode(silence(2, "flac", "flac", layout))
    assert len(samples) == 2 * SAMPLE_RATE and not samples.any()


def test_half_an_hour_of_silence_in_a_small_chunk_is_refused_in_little_memory():
    bomb = silence(1810, "libopus", "ogg", "mono")
    assert len(bomb) < 200_000
    tracemalloc.start()
    samples, problem = decode_chunk(EncodedChunk(0, bomb, 10.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem == "chunk 0: the audio is longer than 1800 s"
    assert len(samples) == 10 * SAMPLE_RATE
    assert peak < 200e6  # bytes; as many samples at 48 kHz would be 350 MB, and twice that to join them


def silence(seconds: int, codec: str, container: str, layout: str) -> bytes:
    """Silence, which packs well; whole tens of seconds, or less than ten."""
    buffer = BytesIO()
    rate = 48_000
    with av.open(buffer, "w", format=container) as output:
        options = {"frame_duration": "60"} if codec == "libopus" else {}
        stream = output.add_stream(codec, rate=rate, layout=layout, options=options)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 500
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate)
        step = min(seconds, 10)
        zeros = np.zeros((1, step * rate * len(stream.layout.channels)), np.int16)
        for second in range(0, seconds, step):
            frame = av.AudioFrame.from_ndarray(zeros, format="s16", layout=layout)
            frame.sample_rate, frame.pts = rate, second * rate
            for part in resampler.resample(frame):
                output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return buffer.getvalue()
