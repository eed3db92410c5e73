"""WAV files as clips are kept: 16 kHz, mono, 16-bit PCM."""

import io
import wave

import numpy as np

from event_detection_pipeline.chronicle.audio import Samples
from event_detection_pipeline.config import SAMPLE_RATE


def wav_bytes(samples: Samples) -> bytes:
    """Encode float32 samples in [-1, 1] (clipped beyond) as a WAV file; the same samples give the same bytes."""
    pcm = np.round(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm.tobytes())
    return buffer.getvalue()
