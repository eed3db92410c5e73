"""Every contact with the world outside: MongoDB, the compute device, the adapters' folder and the settings.

All are injected, so that a test or another deployment replaces them without touching an asset. The defaults read the
settings in the process that runs a step: a changed file needs no reload, and the MongoDB URI, which holds a password,
never becomes Dagster configuration.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field
from pymongo.database import Database
from pymongo.errors import ConnectionFailure, CursorNotFound, ExecutionTimeout

from event_detection_pipeline.adapters.store import AdapterStore, open_store
from event_detection_pipeline.chronicle.database import ChronicleUnavailable, connect
from event_detection_pipeline.config import Settings, load_settings

if TYPE_CHECKING:
    from event_detection_pipeline.adapters.device import Compute


# What passes by itself: a restart, an election, a network that is away. A wrong query or a duplicate does not.
_PASSING_TROUBLE = (ChronicleUnavailable, ConnectionFailure, CursorNotFound, ExecutionTimeout)


def backoff_seconds(first: float, retry: int) -> float:
    """How long to wait before the retry after retry number `retry` (0: none yet), in seconds.

    Waits double, and are spread over half to one and a half of that, so that steps that lost the same server do not
    all come back at once (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/).
    """
    return first * 2**retry * random.uniform(0.5, 1.5)


class SettingsResource(dg.ConfigurableResource):
    """The settings, from `event_detection.toml` and the environment."""

    epochs: int | None = Field(default=None, ge=1, description="Epochs of a training. Default: training.epochs.")

    def load(self) -> Settings:
        return load_settings(**{"training": {"epochs": self.epochs}} if self.epochs else {})


class MongoResource(dg.ConfigurableResource):
    """Chronicle's MongoDB. Reads and writes are retried once by the driver; no message ever holds credentials."""

    uri: str | None = Field(
        default=None, description="Use EnvVar for it, a plain string is stored in the clear. Default: MONGODB_URI."
    )
    database: str | None = Field(default=None, description="Default: the one in the URI, else MONGODB_DATABASE.")
    timeout_seconds: float = Field(default=10.0, gt=0, description="How long to wait for a server.")
    retries: int = Field(default=4, ge=0, description="How often a step is tried again when MongoDB is away.")
    first_wait_seconds: float = Field(default=15.0, gt=0, description="Doubles with each retry, and varies by half.")

    def open(self) -> Database[dict[str, Any]]:
        """Raises ChronicleUnavailable."""
        settings = load_settings(**{"mongodb_uri": self.uri} if self.uri else {})
        database = self.database or settings.database_name
        return connect(settings.mongodb_uri.get_secret_value(), database, timeout_seconds=self.timeout_seconds)

    @contextmanager
    def for_step(self, context: dg.OpExecutionContext | dg.AssetExecutionContext) -> Iterator[Database[dict[str, Any]]]:
        """The database for a step, which is tried again later if MongoDB goes away. Other errors fail at once.

        Raises:
            dg.RetryRequested: MongoDB did not answer, or stopped answering.
        """
        try:
            yield self.open()
        except _PASSING_TROUBLE as error:
            wait = backoff_seconds(self.first_wait_seconds, context.retry_number)
            context.log.warning(f"MongoDB is away, trying again in {wait:.0f} s: {error}")
            raise dg.RetryRequested(max_retries=self.retries, seconds_to_wait=wait) from error


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

    path: str | None = Field(
        default=None, description="A folder. Default: `adapters` in the data directory, shared at adapters.url."
    )

    def open(self) -> AdapterStore:
        return AdapterStore(Path(self.path)) if self.path else open_store(load_settings())
