"""`scan`, `detect` and what `doctor` says of scans, as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion
from event_detection_pipeline.chronicle.database import EVENT_SHADOW_SCANS
from event_detection_pipeline.cli.main import app
from event_detection_pipeline.config import CONFIG_ENV, load_settings
from event_detection_pipeline.doctor import examine
from event_detection_pipeline.scan.leases import Leases
from event_detection_pipeline.scan.pending import PendingVersion
from event_detection_pipeline_tests.household import add_conversation
from event_detection_pipeline_tests.random_adapter import random_adapter
from event_detection_pipeline_tests.sounds import encode, tone

Db = Database[dict[str, Any]]

CONFIG = """\
data_dir = "{data}"
base_model = "{base_model}"
device = "cpu"
[[events]]
name = "chime"
[scan]
shadow = true
"""


@pytest.fixture
def store(tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch, database: Db) -> AdapterStore:
    """chime_v1 is promoted and flags everything, chime_v2 is a candidate."""
    data = tmp_path / "data"
    file = tmp_path / "event_detection.toml"
    file.write_text(CONFIG.format(data=data.as_posix(), base_model=base_model.as_posix()))
    host, port = database.client.address or ("", 0)
    monkeypatch.setenv(CONFIG_ENV, str(file))
    monkeypatch.setenv("MONGODB_URI", f"mongodb://{host}:{port}")
    monkeypatch.setenv("MONGODB_DATABASE", database.name)
    store = AdapterStore(load_settings().adapter_dir)
    for number in (1, 2):
        random_adapter(store.root / f"chime_v{number}", base_model, seed=number, threshold=1e-12)
    store.promote(AdapterVersion("chime", 1), by="a test", reason="to scan with")
    return store


def run_json(*words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_scan_with_a_limit_a_candidate_and_nothing_left(database: Db, store: AdapterStore) -> None:
    ids = {add_conversation(database) for _ in range(3)}
    first = run_json("scan", "--limit", "2")
    assert (first["scanned"], first["flagged"], first["shadow_flagged"]) == (2, 2, {"chime_v2": 2})
    second = run_json("scan")
    assert {flag["conversation_id"] for flag in first["flags"] + second["flags"]} == ids
    assert {flag["adapter"] for flag in first["flags"]} == {"chime_v1"}
    assert database[EVENT_SHADOW_SCANS].count_documents({}) == 3
    assert run_json("scan", "--event", "chime")["scanned"] == 0


def test_detect_tells_each_file_in_the_order_given(tmp_path: Path, store: AdapterStore) -> None:
    files = [tmp_path / "b.ogg", tmp_path / "a.ogg"]
    for file in files:
        file.write_bytes(encode(tone(2.0)))
    found = run_json("detect", *map(str, files), "--adapter", str(store.root / "chime_v1"))
    assert [one["audio"] for one in found] == [str(file) for file in files]
    assert all(one.keys() == found[0].keys() and one["detected"] for one in found)


def test_a_file_that_cannot_be_read_stops_none_of_the_others(tmp_path: Path, store: AdapterStore) -> None:
    first, broken, last = (tmp_path / name for name in ("first.ogg", "broken.ogg", "last.ogg"))
    for file in (first, last):
        file.write_bytes(encode(tone(2.0)))
    broken.write_bytes(b"no audio")
    words = ["detect", str(first), str(broken), str(last), "--adapter", str(store.root / "chime_v1")]
    told = CliRunner().invoke(app, words)
    assert [line.split(": chime yes")[0] for line in told.stdout.splitlines()] == [str(first), str(last)]
    as_json = CliRunner().invoke(app, [*words, "--json"])
    assert [one["audio"] for one in json.loads(as_json.stdout)] == [str(first), str(last)]
    for result in (told, as_json):
        assert result.exit_code == 1
        assert f"{broken}: not decodable" in result.stderr


def test_the_doctor_tells_of_work_that_a_scan_left(database: Db, store: AdapterStore) -> None:
    add_conversation(database)

    def told(check: str) -> tuple[str, str]:
        return next((one.found, one.advice) for one in examine(load_settings()) if one.check == check)

    assert "not there yet" in told("indexes")[0]
    run_json("scan")
    assert "not there yet" not in told("indexes")[0]
    assert told("scans") == ("0 versions in work, 0 left by scans that stopped", "")
    with Leases(database, ["chime_v1"]) as leases:
        leases.take([PendingVersion("a", "v1")])
        assert told("scans")[0].startswith("1 versions in work, 0 left")
    assert told("scans") == ("0 versions in work, 1 left by scans that stopped", "the next scan takes up what was left")
