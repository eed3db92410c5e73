"""Commands on a store whose adapters took no training, as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner, Result

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.chronicle.database import connect
from event_detection_pipeline.cli.main import app
from event_detection_pipeline.config import CONFIG_ENV, Settings, load_settings
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline_tests.adapters.stored import add_adapter
from event_detection_pipeline_tests.faults.server import Server
from event_detection_pipeline_tests.review.flags import add_flagged, version_of

Db = Database[dict[str, Any]]

UNAUTHORIZED = 13  # MongoDB's error code


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Db) -> Settings:
    file = tmp_path / "event_detection.toml"
    file.write_text(f'data_dir = "{(tmp_path / "data").as_posix()}"\n[[events]]\nname = "sneeze"\n')
    host, port = database.client.address or ("", 0)
    monkeypatch.setenv(CONFIG_ENV, str(file))
    monkeypatch.setenv("MONGODB_URI", f"mongodb://{host}:{port}")
    monkeypatch.setenv("MONGODB_DATABASE", database.name)
    return load_settings()


@pytest.fixture
def store(settings: Settings) -> AdapterStore:
    return AdapterStore(settings.adapter_dir)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["adapters", *words], catch_exceptions=True)


def run_json(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_what_passed_the_gate_is_promoted_by_hand(settings: Settings, store: AdapterStore) -> None:
    version = add_adapter(settings)
    move = run_json("promote", str(version), "--by", "ada", "--reason", "let us see")
    assert (move["promoted"], move["by"], move["reason"]) == ("sneeze_v1", "ada, command line", "let us see")
    assert store.promoted("sneeze") == version


def test_only_force_brings_what_failed_and_it_is_on_record(settings: Settings, store: AdapterStore) -> None:
    add_adapter(settings, passed=False)
    refused = run("promote", "sneeze_v1")
    assert isinstance(refused.exception, PipelineError)
    assert "average precision 0.10 is too low" in str(refused.exception)
    assert isinstance(run("promote", "sneeze_v1", "--approve").exception, PipelineError)
    assert store.promoted("sneeze") is None
    assert run_json("promote", "sneeze_v1", "--force")["reason"] == "by hand (forced)"


def test_an_approval_is_asked_for_and_given(
    settings: Settings, store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENT_DETECTION_ADAPTERS__REQUIRE_APPROVAL", "true")
    version = add_adapter(settings)
    refused = run("promote", "sneeze_v1")
    assert "nobody has approved it" in str(refused.exception)
    assert run_json("list")[0]["state"] == "waiting"
    assert run_json("promote", "sneeze_v1", "--approve", "--by", "ada", "--reason", "good")["promoted"] == "sneeze_v1"
    approval = store.approval(version)
    assert approval and (approval.by, approval.reason) == ("ada", "good")
    assert run_json("list")[0]["approval"]["by"] == "ada"


def test_a_rollback_takes_flags_back_if_asked(settings: Settings, store: AdapterStore, database: Db) -> None:
    for _ in range(2):
        store.promote(add_adapter(settings), by="test", reason="next")
    flagged = add_flagged(database, event="sneeze", adapter="sneeze_v2")
    result = run("rollback", "sneeze", "--rescan", "--json")
    assert json.loads(result.stdout)["promoted"] == "sneeze_v1"
    assert version_of(database, flagged)["maybe_anomaly"] is None
    again = run("rollback", "sneeze")
    assert "no earlier promoted adapter to go back to" in str(again.exception)


def test_a_rollback_whose_flags_stay_says_what_takes_them_back(
    settings: Settings, store: AdapterStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        store.promote(add_adapter(settings), by="test", reason="next")
    with Server(tmp_path / "mongodb") as server:
        monkeypatch.setenv("MONGODB_URI", server.uri)
        database = connect(server.uri, settings.database_name)
        flagged = add_flagged(database, event="sneeze", adapter="sneeze_v3")
        with server.refusing(["find"], after=0, code=UNAUTHORIZED):
            result = run("rollback", "sneeze", "--rescan")
        assert isinstance(result.exception, PipelineError)
        assert "scans use sneeze_v2 now" in str(result.exception)
        assert "`event-detection adapters withdraw sneeze_v3`" in str(result.exception)
        assert version_of(database, flagged)["maybe_anomaly"] is True
        for _ in range(2):
            assert run("withdraw", "sneeze_v3").exit_code == 0
        assert version_of(database, flagged)["maybe_anomaly"] is None
    assert str(store.promoted("sneeze")) == "sneeze_v2"


def test_pruning_says_what_it_keeps_and_why(settings: Settings, store: AdapterStore) -> None:
    for _ in range(3):
        add_adapter(settings)
    store.promote(AdapterVersion("sneeze", 1), by="test", reason="the first")
    wanted = {"sneeze_v1": "promoted", "sneeze_v2": None, "sneeze_v3": "one of the 1 newest"}
    for options in (("--dry-run",), ()):
        rows = run_json("prune", "--keep", "1", *options)
        assert {row["adapter"]: row["why"] for row in rows} == wanted
        assert [row["adapter"] for row in rows if row["deleted"]] == ["sneeze_v2"]
    assert [str(version) for version in store.versions("sneeze")] == ["sneeze_v1", "sneeze_v3"]
    assert "kept: promoted" in run("prune", "--keep", "1").stdout


@pytest.mark.parametrize(
    "written", ["{}", '{"verdict": {"passed": true, "rea', '{"verdict": {"passed": true}}', "[]", "3"]
)
def test_a_broken_evaluation_hides_no_adapter_and_counts_as_none(
    settings: Settings, store: AdapterStore, written: str
) -> None:
    broken, sound = add_adapter(settings), add_adapter(settings)
    (settings.evaluation_dir / f"{broken}.json").write_text(written)
    assert [(row["name"], row["verdict"]) for row in run_json("list")] == [
        (str(broken), "not evaluated"),
        (str(sound), "not worse than the promoted one"),
    ]
    assert "run the job evaluate_only" in str(run("promote", str(broken)).exception)
    assert run_json("promote", str(broken), "--force")["promoted"] == str(broken)


def test_the_list_says_what_became_of_each(settings: Settings, store: AdapterStore) -> None:
    store.promote(add_adapter(settings), by="test", reason="the first")
    add_adapter(settings, passed=False)
    add_adapter(settings)
    assert [(row["name"], row["state"]) for row in run_json("list")] == [
        ("sneeze_v1", "promoted"),
        ("sneeze_v2", "refused"),
        ("sneeze_v3", "promote"),
    ]
    assert "sneeze_v1" in run("show", "sneeze_v1").stdout
