"""Every contact with the world outside: MongoDB, the compute device, the adapters' folder and the settings.

All are injected, so that a test or another deployment replaces them without touching an asset. The defaults read the
settings in the process that runs a step: a changed file needs no reload, and the MongoDB URI, which holds a password,
never becomes Dagster configuration.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field
from pymongo.database import Database

from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.chronicle.database import connect
from event_detection_pipeline.config import Settings, load_settings

if TYPE_CHECKING:
    from event_detection_pipeline.adapters.device import Compute


class SettingsResource(dg.ConfigurableResource):
    """The settings, from `event_detection.toml` and the environment."""

    def load(self) -> Settings:
        return load_settings()


class MongoResource(dg.ConfigurableResource):
    """Chronicle's MongoDB. Reads and writes are retried once by the driver; no message ever holds credentials."""

    uri: str | None = Field(
        default=None, description="Use EnvVar for it, a plain string is stored in the clear. Default: MONGODB_URI."
    )
    database: str | None = Field(default=None, description="Default: the one in the URI, else MONGODB_DATABASE.")
    timeout_seconds: float = Field(default=10.0, gt=0, description="How long to wait for a server.")

    def open(self) -> Database[dict[str, Any]]:
        """Raises ChronicleUnavailable."""
        settings = load_settings(**{"mongodb_uri": self.uri} if self.uri else {})
        database = self.database or settings.database_name
        return connect(settings.mongodb_uri.get_secret_value(), database, timeout_seconds=self.timeout_seconds)


class ComputeResource(dg.ConfigurableResource):
    """The device models run on."""

    device: str | None = Field(default=None, description="auto, cuda or cpu. Default: the setting `device`.")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; default: torch's own choice.")

    def choose(self) -> "Compute":
        """Raises DeviceUnavailable, or SettingsError for a device of another name."""
        import torch

        from event_detection_pipeline.adapters.device import choose_compute

        if self.threads:
            torch.set_num_threads(self.threads)
        return choose_compute(load_settings(**{"device": self.device} if self.device else {}).device)


class AdapterStoreResource(dg.ConfigurableResource):
    """Where adapters are kept."""

    path: str | None = Field(default=None, description="Default: `adapters` in the data directory.")

    def open(self) -> AdapterStore:
        return AdapterStore(Path(self.path) if self.path else load_settings().adapter_dir)
