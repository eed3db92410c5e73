"""Settings come from file and environment, and a wrong one is named."""

from pathlib import Path

import pytest

from event_detection_pipeline.config import CONFIG_ENV, SettingsError, load_settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "event_detection.toml"
    path.write_text("")
    monkeypatch.setenv(CONFIG_ENV, str(path))
    return path


def test_without_a_file_the_defaults_are_those_of_the_original_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    (event,) = settings.events
    assert (event.source_tag, event.target_token) == ("<event>", "EVENT_DETECTED")
    assert settings.base_model == "unsloth/whisper-large-v3"
    assert settings.database_name == "chronicle"


def test_an_event_needs_no_more_than_a_name(config: Path) -> None:
    config.write_text('[[events]]\nname = "sneeze"\n')
    (event,) = load_settings().events
    assert (event.source_tag, event.target_token) == ("<sneeze>", "SNEEZE_DETECTED")


def test_the_environment_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('base_model = "openai/whisper-tiny"\n[training]\nepochs = 3\nbatch_size = 2\n')
    monkeypatch.setenv("EVENT_DETECTION_TRAINING__EPOCHS", "7")
    settings = load_settings()
    assert settings.base_model == "openai/whisper-tiny"
    assert (settings.training.epochs, settings.training.batch_size) == (7, 2)


def test_a_name_in_the_environment_with_one_underscore_too_few_is_an_error(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENT_DETECTION_TRAINING_EPOCHS", "5")
    monkeypatch.setenv("EVENT_DETECTION_DAGSTER_WEBSERVER_PORT", "Kubernetes sets such names for its services")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    told = "EVENT_DETECTION_TRAINING_EPOCHS: write EVENT_DETECTION_TRAINING__EPOCHS, with two underscores"
    assert str(raised.value) == told


def test_a_database_in_the_uri_wins(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_DATABASE", "chronicle")
    monkeypatch.setenv("MONGODB_URI", "mongodb://user:pass@host:27017/friend-lite?authSource=admin")
    assert load_settings().database_name == "friend-lite"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[training]\nepochs = 0\n", "training.epochs"),
        ("[training]\nepoch = 3\n", "training.epoch"),
        ('[[events]]\nname = "Not A Name"\n', "events.0.name"),
        ('[[events]]\nsource_tag = "two words"\n', "events.0.source_tag"),
        ('[automation]\ntimezone = "Europe/Atlantis"\n', "automation.timezone"),
        ('[automation]\nexport_cron = "at two"\n', "automation.export_cron"),
        ("[clips]\nmax_seconds = 31.0\n", "clips.max_seconds"),
        ("events = []\n", "events"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_key(config: Path, text: str, key: str) -> None:
    config.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{key}:")
    assert "\n" not in str(caught.value)


def test_two_events_cannot_share_a_tag(config: Path) -> None:
    config.write_text('[[events]]\nname = "a"\nsource_tag = "<x>"\n[[events]]\nname = "b"\nsource_tag = "<x>"\n')
    with pytest.raises(SettingsError, match="two events share the same source_tag"):
        load_settings()


def test_a_file_that_is_no_toml_is_named(config: Path) -> None:
    config.write_text('data_dir = "half\n')
    with pytest.raises(SettingsError, match=r"event_detection\.toml"):
        load_settings()


def test_a_named_file_that_is_missing_is_an_error(config: Path) -> None:
    config.unlink()
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings()


def test_a_password_is_in_no_error_and_no_print(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('mongodb_uri = ["mongodb://user:hunter2@host"]\n')
    with pytest.raises(SettingsError, match="MONGODB_URI") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("MONGODB_URI", "mongodb://user:hunter2@host")
    assert "hunter2" not in repr(load_settings())
