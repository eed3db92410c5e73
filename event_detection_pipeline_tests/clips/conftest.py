"""A household whose event is a sneeze."""

from pathlib import Path

import pytest

from event_detection_pipeline.config import EventSettings, Settings

SNEEZE = EventSettings(name="sneeze")


@pytest.fixture
def settings(tmp_path: Path, mongodb_uri: str) -> Settings:
    """Settings of two events, with their data in a temporary folder and nothing on the model hub."""
    return Settings(
        mongodb_uri=mongodb_uri,  # pyright: ignore[reportArgumentType]
        data_dir=tmp_path / "data",
        base_model=str(tmp_path / "no-model"),
        events=(SNEEZE, EventSettings(name="doorbell")),
    )


@pytest.fixture
def event() -> EventSettings:
    return SNEEZE
