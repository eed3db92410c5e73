"""Sounds and files for tests, made here so that what comes out of the pipeline can be compared with what went in."""

import io

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16_000

Samples = NDArray[np.float32]


def tone(seconds: float, frequency: float = 440.0, *, rate: int = RATE, level: float = 0.3) -> Samples:
    """A sine, float32."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def encode(samples: Samples, *, rate: int = RATE, codec: str = "libopus", container: str = "ogg") -> bytes:
    """Encode mono (n,) or stereo (2, n) samples, by default as Chronicle does: Ogg Opus, 24 kbit/s, voip."""
    channels = np.atleast_2d(samples)
    layout = "mono" if len(channels) == 1 else "stereo"
    pcm = np.round(np.clip(channels, -1, 1) * 32767).astype(np.int16)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        options = {"application": "voip"} if codec == "libopus" else {}
        stream = output.add_stream(codec, rate=rate, layout=layout, options=options)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 24_000
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate)
        frame = av.AudioFrame.from_ndarray(pcm.T.reshape(1, -1).copy(), format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(part))
    return buffer.getvalue()
