"""The demo's database around a command: whatever ends it ends the command, and all that the command started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from event_detection_pipeline.demo.server import INTERRUPTED

PATIENCE_SECONDS = 20
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(child.pid, flush=True)
child.wait()
"""


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    server = [sys.executable, "-m", "event_detection_pipeline.demo.server", str(folder), *command]
    return subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ends(pid: int) -> bool:
    """Whether a process that is not our child ends in time."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True  # its new parent has not collected it yet
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_server_ends_the_command_and_its_children(tmp_path: Path, sign: signal.Signals) -> None:
    server = start(tmp_path, sys.executable, "-c", PARENT)
    assert server.stdout
    grandchild = int(server.stdout.readline())
    server.send_signal(sign)
    assert ends(grandchild)
    assert server.wait(PATIENCE_SECONDS) == (-signal.SIGKILL if sign == signal.SIGKILL else INTERRUPTED)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_also_ends_what_was_started_where_signals_are_ignored(tmp_path: Path, sign: signal.Signals) -> None:
    before = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        server = start(tmp_path, sys.executable, "-c", PARENT)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert server.stdout
    grandchild = int(server.stdout.readline())
    server.send_signal(sign)
    assert ends(grandchild)
    assert server.wait(PATIENCE_SECONDS) == INTERRUPTED


def test_the_command_sees_the_database_and_its_exit_status_is_kept(tmp_path: Path) -> None:
    code = """
import sys
from event_detection_pipeline.chronicle.database import connect
from event_detection_pipeline.config import load_settings
settings = load_settings()
print(connect(settings.mongodb_uri.get_secret_value(), settings.database_name).name)
sys.exit(7)
"""
    server = start(tmp_path, sys.executable, "-c", code)
    output, _ = server.communicate(timeout=PATIENCE_SECONDS)
    assert output.strip() == "chronicle"
    assert server.returncode == 7
