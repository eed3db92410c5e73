"""What all calls of the API share."""

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pymongo.database import Database

from event_detection_pipeline.config import Settings
from event_detection_pipeline.review.audio import WavFiles


@dataclass(frozen=True, slots=True)
class Service:
    """The database and the settings of one server."""

    database: Database[dict[str, Any]]
    settings: Settings
    audio: WavFiles

    @property
    def events(self) -> list[str]:
        """The configured events' names."""
        return [event.name for event in self.settings.events]


def service_of(request: Request) -> Service:
    """The service that this request is made to."""
    return request.app.state.service
