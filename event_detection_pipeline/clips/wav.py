"""WAV files as clips are kept: 16 kHz, mono, 16-bit PCM."""

import hashlib
import io
import wave
from pathlib import Path

import numpy as np

from event_detection_pipeline.chronicle.audio import Samples
from event_detection_pipeline.config import SAMPLE_RATE
from event_detection_pipeline.files import write_atomically


def keep_wav(path: Path, samples: Samples) -> str:
    """Write the samples as `wav_bytes`, unless the file holds just that, and return its SHA-256 in hexadecimal."""
    data = wav_bytes(samples)
    if not path.is_file() or path.read_bytes() != data:
        write_atomically(path, data, durable=False)
    return hashlib.sha256(data).hexdigest()


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
