"""Which weights of a base model exactly: names stay when what is behind them changes."""

import hashlib
from pathlib import Path

from event_detection_pipeline.adapters.whisper import Whisper


def base_revision(whisper: Whisper) -> str:
    """The commit of a model from the hub; of a local folder `sha256:` and the SHA-256 over its safetensors files."""
    commit = getattr(whisper.model.config, "_commit_hash", None)
    if commit:
        return str(commit)
    digest = hashlib.sha256()
    for path in sorted(Path(whisper.name).glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
