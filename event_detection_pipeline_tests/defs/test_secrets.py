"""No secret is in anything that failing runs and commands leave behind."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

PASSWORD, TOKEN, TOPIC = "planted-password", "planted-token-of-the-page", "planted-topic"

FAILING_JOB = """
import dagster as dg
from event_detection_pipeline.definitions import defs
mongo = {"config": {"retries": 0, "timeout_seconds": 0.3}}
with dg.DagsterInstance.get() as instance:
    result = defs.resolve_job_def("export_training_data").execute_in_process(
        instance=instance, run_config={"resources": {"mongo": mongo}}, raise_on_error=False
    )
    assert not result.success
"""
COMMAND = "from event_detection_pipeline.cli.main import main; main()"


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://me:{PASSWORD}@127.0.0.1:1/?serverSelectionTimeoutMS=300",
        f"mongodb://me:{PASSWORD}@/nowhere",
        f"mongodb://me:{PASSWORD}@@127.0.0.1:1",
        None,
    ],
    ids=["nobody answers", "no host", "not percent-encoded", "refused"],
)
def test_whatever_failing_runs_leave_behind_holds_no_secret(uri: str | None, mongodb_uri: str, tmp_path: Path):
    home = tmp_path / "dagster"
    home.mkdir()
    environment = os.environ | {
        "DAGSTER_HOME": str(home),
        "MONGODB_URI": uri or f"mongodb://me:{PASSWORD}@{urlsplit(mongodb_uri).netloc.rpartition('@')[2]}/",
        "EVENT_DETECTION_DATA_DIR": str(tmp_path / "data"),
        "EVENT_DETECTION_REVIEW__TOKEN": TOKEN,
        "EVENT_DETECTION_AUTOMATION__WEBHOOK_URL": f"http://127.0.0.1:1/{TOPIC}",
    }
    said = []
    for arguments in ([FAILING_JOB], [COMMAND, "export"], [COMMAND, "scan"], [COMMAND, "doctor"]):
        done = subprocess.run(
            [sys.executable, "-c", *arguments], env=environment, cwd=tmp_path, capture_output=True, timeout=120
        )
        assert (done.returncode == 0) == (arguments == [FAILING_JOB]), done.stderr.decode()
        said += [done.stdout, done.stderr]

    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in written), "the run left no event log to look into"
    for content in (*said, *(path.read_bytes() for path in written)):
        for secret in (PASSWORD, TOKEN, TOPIC):
            assert secret.encode() not in content
