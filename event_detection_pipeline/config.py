"""The settings of a household: one typed object from `event_detection.toml` and the environment.

The environment wins over the file, the file over the defaults. `MONGODB_URI` and `MONGODB_DATABASE` are Chronicle's own
names; every other key is `EVENT_DETECTION_<KEY>`, nested with two underscores (`EVENT_DETECTION_TRAINING__EPOCHS=5`).
"""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

CONFIG_FILE = "event_detection.toml"
ENV_PREFIX = "EVENT_DETECTION_"
CONFIG_ENV = "EVENT_DETECTION_CONFIG"

# Whisper hears at most 30 s at once (log-mel input of 3000 frames, 10 ms each; Radford et al. 2022, section 2.2).
MAX_CLIP_SECONDS = 30.0
SAMPLE_RATE = 16_000  # Hz, the only rate Whisper takes


class SettingsError(ValueError):
    """A setting has a wrong value; the message is one line that names the key."""


class Section(BaseModel):
    """A table of the config file; a key it does not know is an error, so that a typo is heard."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EventSettings(Section):
    """An event to hear: its name, its tag in people's transcripts, and the marker the adapter learns to write."""

    name: str = Field(default="event", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    source_tag: str = Field(default="", pattern=r"^\S*$")
    target_token: str = Field(default="", pattern=r"^\S*$")

    def model_post_init(self, _context: object) -> None:
        # Derived defaults: `sneeze` alone is a complete event in the config file.
        object.__setattr__(self, "source_tag", self.source_tag or f"<{self.name}>")
        object.__setattr__(self, "target_token", self.target_token or f"{self.name.upper()}_DETECTED")


class ClipSettings(Section):
    """How conversations are cut to clips, and recordings mixed into them; lengths in seconds.

    `other_windows` of a long conversation are taken besides those with the event. `event_segments` maps what a
    recogniser writes for a sound to an event's name ({"[achoo]" = "sneeze"}); `[<name>]` is known. Each recording gives
    `mixes_per_recording` clips (`mixes_per_other_sound` where it is not the event), mixed into clips of
    `background_conversations` nobody flagged, at levels in the range `mix_snr_db` against what is heard there.
    """

    target_seconds: float = Field(default=12.0, gt=1.0, le=MAX_CLIP_SECONDS)
    max_seconds: float = Field(default=MAX_CLIP_SECONDS, gt=1.0, le=MAX_CLIP_SECONDS)
    other_windows: int = Field(default=2, ge=0)
    event_segments: dict[str, str] = Field(default_factory=dict)
    validation_fraction: float = Field(default=0.15, gt=0.0, lt=0.5)
    test_fraction: float = Field(default=0.15, gt=0.0, lt=0.5)
    mixes_per_recording: int = Field(default=40, ge=0)
    mixes_per_other_sound: int = Field(default=20, ge=0)
    background_conversations: int = Field(default=60, ge=0)
    mix_snr_db: tuple[float, float] = (-5.0, 15.0)
    seed: int = 0
    processes: int | None = Field(default=None, ge=1)
    min_events_per_split: int = Field(default=1, ge=0)
    min_others_per_split: int = Field(default=1, ge=0)


class LoraSettings(Section):
    """Where LoRA sits and how large it is (https://arxiv.org/abs/2106.09685).

    `adapt_from_layer` is the lowest layer of the encoder that is adapted, None the middle one; of the decoder all are.
    """

    rank: int = Field(default=16, ge=1, le=256)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    adapt_from_layer: int | None = Field(default=None, ge=0)
    part: Literal["encoder", "decoder", "both"] = "both"
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class TrainingSettings(Section):
    """How an adapter is trained.

    The marker, and the token that follows it, count `marker_weight` times in the loss. `state_cache_gb` is how large
    the states of the frozen layers, which later trainings use again, may become on disk. `tensorboard` writes the
    curves also to `data_dir`/tensorboard (pip install tensorboard).
    """

    epochs: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0.0)
    batch_size: int = Field(default=8, ge=1)
    weight_decay: float = Field(default=0.01, ge=0.0)
    warmup_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    max_grad_norm: float = Field(default=1.0, gt=0.0)
    patience_epochs: int = Field(default=3, ge=1)
    marker_weight: float = Field(default=5.0, gt=0.0)
    state_cache_gb: float = Field(default=20.0, ge=0.0)
    tensorboard: bool = False
    seed: int = 0

    @property
    def state_cache_bytes(self) -> int:
        return round(self.state_cache_gb * 1e9)


class EvaluationSettings(Section):
    """How a threshold is chosen and when a candidate replaces the promoted adapter.

    The gate resamples conversations. At `gate_confidence`, the lower bound of the candidate's average precision less
    the promoted one's must not lie below `-max_average_precision_drop`, nor the upper bound of its difference to the
    probe's below `-probe_tolerance`. `golden_manifest` names clips that users reported as errors: where the promoted
    adapter is right on one of them, the candidate must be. `transcribed_clips` of the test are written down freely for
    the word error rate, the one slow figure.
    """

    threshold_rule: Literal["highest_recall", "best_f1"] = "highest_recall"
    target_false_alarm_rate: float = Field(default=0.05, gt=0.0, lt=1.0)
    default_threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    gate_confidence: float = Field(default=0.90, gt=0.5, lt=1.0)
    max_average_precision_drop: float = Field(default=0.05, ge=0.0, lt=1.0)
    probe_tolerance: float = Field(default=0.03, ge=0.0, lt=1.0)
    min_test_events: int = Field(default=20, ge=1)
    min_test_conversations: int = Field(default=5, ge=1)
    golden_manifest: Path | None = None
    transcribed_clips: int = Field(default=24, ge=0)


class AdapterSettings(Section):
    """When adapters are promoted, and how many are kept.

    With `require_approval` a candidate that passed the gate waits until a person approves it. `adapters prune` keeps
    the `keep` newest adapters of an event, and all that something still refers to. Machines share their adapters at
    `url` (s3://..., gs://..., file:///...), for which fsspec finds the credentials where that service keeps them.
    """

    require_approval: bool = False
    keep: int = Field(default=5, ge=1)
    url: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9+]*://")


class ScanSettings(Section):
    """How new conversations are scanned: at most `limit` a run, the newest first, `batch_size` windows at once (None:
    as many as suit the device's memory).

    With `shadow` the newest adapter of each event hears along before it is promoted; its scores are kept apart and flag
    nothing. `shards` scans share the work of a run in Dagster, each a step of its own.
    """

    batch_size: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)
    shadow: bool = False
    shards: int = Field(default=1, ge=1, le=256)


class ReviewSettings(Section):
    """The user loop: where it is served, to whom, and what an answer writes.

    `allowed_origins` are other addresses (http://chronicle.local:5173) whose pages may answer: Chronicle's own front
    end, or a proxy in front of this server. `token` is asked for on any address but this machine's own; without one,
    one is made. With `user_id` only that user's conversations are shown, heard and answered. The false positive rate of
    the last `drift_answers` answers is compared with that of those before.
    """

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8710, ge=0, le=65535)
    token: SecretStr | None = Field(default=None, min_length=16)
    allowed_origins: tuple[str, ...] = ()
    order: Literal["uncertain", "newest"] = "uncertain"
    stash_copy_audio: bool = False
    user_id: str | None = Field(default=None, min_length=1)
    drift_answers: int = Field(default=30, ge=5)


class AutomationSettings(Section):
    """When Dagster works by itself, for how long (hours a run), and whom it tells when something fails.

    `webhook_url` is posted to as `webhook_style` says: a JSON object, or plain text with a title as https://ntfy.sh and
    its self-hosted servers take it. It is a secret: whoever knows the topic can read and write there.
    """

    timezone: str = "UTC"
    export_cron: str = "0 2 * * *"
    retrain_cron: str = "0 3 * * 0"
    scan_cron: str = "0 * * * *"
    prune_cron: str = "30 4 * * 0"
    retrain_after_new_samples: int = Field(default=20, ge=1)
    retrain_attempts: int = Field(default=3, ge=1)
    quick_epochs: int = Field(default=2, ge=1)
    export_max_hours: float = Field(default=4.0, gt=0.0)
    retrain_max_hours: float = Field(default=24.0, gt=0.0)
    scan_max_hours: float = Field(default=12.0, gt=0.0)
    keep_history_days: int = Field(default=90, ge=1)
    webhook_url: SecretStr | None = None
    webhook_style: Literal["json", "ntfy"] = "json"

    @field_validator("webhook_url")
    @classmethod
    def _webhook_is_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not re.match(r"https?://[^/]", url.get_secret_value()):
            raise ValueError("not a web address; they begin with https:// or http://")
        return url

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("not a time zone; they look like Europe/Berlin")
        return name

    @field_validator("export_cron", "retrain_cron", "scan_cron", "prune_cron")
    @classmethod
    def _cron_has_five_fields(cls, cron: str) -> str:
        # Dagster checks the fields themselves when it loads the schedules.
        if len(cron.split()) != 5:
            raise ValueError("not a cron schedule; they have five fields, such as 0 2 * * *")
        return cron


class ClusterSettings(Section):
    """Where Dagster runs the steps of a run: processes of this machine, Ray jobs (deploy/ray) or pods (deploy/k8s).

    A step that trains, judges or scans asks a cluster for `cpus`, `gpus` and `memory_gb`; Ray can give parts of a card.
    A training in `training_processes`, each on a card of its own, asks for that many times as much, on one machine.
    What one step hands to the next is kept at `url` (s3://..., file:///...), which all machines of a cluster reach.
    """

    executor: Literal["processes", "ray", "kubernetes"] = "processes"
    cpus: float = Field(default=4.0, gt=0.0)
    gpus: float = Field(default=1.0, ge=0.0)
    memory_gb: float = Field(default=16.0, gt=0.0)
    training_processes: int = Field(default=1, ge=1)
    url: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9+]*://")

    @model_validator(mode="after")
    def _cluster_can_do_it(self) -> Self:
        if self.executor != "processes" and not self.url:
            raise ValueError(f"executor = {self.executor!r} needs a url that all machines reach")
        if self.executor == "kubernetes" and self.gpus % 1:
            raise ValueError("Kubernetes gives whole cards only: gpus is 0, 1, 2, ...")
        return self


class Settings(BaseSettings):
    """Everything a run needs to know. Immutable; read once by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        populate_by_name=True,
    )

    mongodb_uri: SecretStr = Field(
        default=SecretStr("mongodb://localhost:27017"), validation_alias=AliasChoices("MONGODB_URI", "mongodb_uri")
    )
    mongodb_database: str = Field(
        default="chronicle", min_length=1, validation_alias=AliasChoices("MONGODB_DATABASE", "mongodb_database")
    )
    data_dir: Path = Path("data")
    base_model: str = Field(default="unsloth/whisper-large-v3", min_length=1)
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}$")
    device: Literal["auto", "cuda", "cpu"] = "auto"
    min_samples: int = Field(default=50, ge=0)
    events: tuple[EventSettings, ...] = (EventSettings(),)
    clips: ClipSettings = ClipSettings()
    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    adapters: AdapterSettings = AdapterSettings()
    scan: ScanSettings = ScanSettings()
    review: ReviewSettings = ReviewSettings()
    automation: AutomationSettings = AutomationSettings()
    cluster: ClusterSettings = ClusterSettings()

    @field_validator("events")
    @classmethod
    def _events_are_told_apart(cls, events: tuple[EventSettings, ...]) -> tuple[EventSettings, ...]:
        if not events:
            raise ValueError("at least one event is needed")
        for what in ("name", "source_tag", "target_token"):
            values = [getattr(event, what) for event in events]
            if len(set(values)) != len(values):
                raise ValueError(f"two events share the same {what}")
        return events

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())

    @cached_property
    def database_name(self) -> str:
        """The database named in the URI's path if there is one, else `mongodb_database`."""
        path = re.match(r"mongodb(?:\+srv)?://[^/]*/([^/?]+)", self.mongodb_uri.get_secret_value())
        return path.group(1) if path else self.mongodb_database

    @property
    def audio_dir(self) -> Path:
        return self.data_dir / "audio"

    @property
    def recordings_dir(self) -> Path:
        return self.data_dir / "recordings"

    @property
    def manifest_dir(self) -> Path:
        return self.data_dir / "manifests"

    @property
    def adapter_dir(self) -> Path:
        return self.data_dir / "adapters"

    @property
    def evaluation_dir(self) -> Path:
        return self.data_dir / "evaluations"

    @property
    def metrics_dir(self) -> Path:
        return self.data_dir / "metrics"

    @property
    def checkpoint_dir(self) -> Path:
        return self.data_dir / "checkpoints"

    @property
    def state_cache_dir(self) -> Path:
        return self.data_dir / "cache" / "encoder-states"

    @property
    def tensorboard_dir(self) -> Path:
        return self.data_dir / "tensorboard"

    def event(self, name: str) -> EventSettings:
        """The event of that name. Raises SettingsError that lists the known ones."""
        for event in self.events:
            if event.name == name:
                return event
        known = ", ".join(event.name for event in self.events)
        raise SettingsError(f"no event is called {name!r}; events in the configuration: {known}")


def config_file() -> Path:
    """Where settings are read from: `$EVENT_DETECTION_CONFIG`, else ./event_detection.toml (which need not exist)."""
    return Path(os.environ.get(CONFIG_ENV, CONFIG_FILE))


def load_settings(**overrides: object) -> Settings:
    """Read the settings; keyword arguments win over everything.

    Raises:
        SettingsError: one line a wrong value, each naming its key.
    """
    file = config_file()
    if CONFIG_ENV in os.environ and not file.is_file():
        raise SettingsError(f"{CONFIG_ENV} names {file}, which does not exist")
    if misspelt := _misspelt():
        raise SettingsError("\n".join(misspelt))
    try:
        return Settings(**overrides)  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        raise SettingsError("\n".join(_one_line(problem) for problem in error.errors())) from None
    except (ValueError, RecursionError) as error:  # TOML that does not parse, an environment value that is not JSON
        raise SettingsError(f"{file}: {error}") from None


def _misspelt() -> list[str]:
    """Names in the environment with one underscore after a table's name, which nothing else would notice."""
    tables = {name: type(field.default) for name, field in Settings.model_fields.items()}
    right = {
        f"{ENV_PREFIX}{table}_{key}".upper(): f"{ENV_PREFIX}{table}__{key}".upper()
        for table, section in tables.items()
        if issubclass(section, Section)
        for key in section.model_fields
    }
    return [f"{name}: write {right[name]}, with two underscores" for name in os.environ if name in right]


def _one_line(problem: object) -> str:
    assert isinstance(problem, dict)
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown setting"
    # The value of a secret must not reach a log.
    got = "" if any(word in key.lower() for word in ("uri", "token", "webhook")) else f" (got {problem['input']!r})"
    return f"{key}: {problem['msg']}{got}"
