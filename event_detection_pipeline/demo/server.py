"""The demo's MongoDB: an embedded server (secantusdb, really on disk), alone or around another command.

python -m event_detection_pipeline.demo.server .demo dagster dev -w workspace.yaml
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from event_detection_pipeline.config import CONFIG_ENV
from event_detection_pipeline.errors import PipelineError

INTERRUPTED = 130

CONFIG = """\
# The demo's settings, written anew by each `make demo`.
data_dir = "{folder}/data"
base_model = "{folder}/models/whisper-tiny.en"

[[events]]
name = "chime"
"""


class DemoExtraMissing(PipelineError):
    """The demo's packages are not installed."""


@contextlib.contextmanager
def demo_environment(folder: Path) -> Iterator[str]:
    """Start the server on a free port and point the environment of this process at the demo; yields the MongoDB URI.

    Raises:
        DemoExtraMissing: secantusdb is not installed.
    """
    try:
        from secantus import SecantusDBServer
    except ImportError:
        raise DemoExtraMissing('the demo needs: pip install "event-detection-pipeline[demo]"') from None
    folder = folder.resolve()
    home = folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    instance = Path("dagster.yaml")
    if instance.is_file():
        (home / "dagster.yaml").write_text(instance.read_text())
    config = folder / "event_detection.toml"
    config.write_text(CONFIG.format(folder=folder.as_posix()))
    with SecantusDBServer(storage_path=str(folder / "mongodb")) as server:
        os.environ |= {
            CONFIG_ENV: str(config),
            "MONGODB_URI": server.uri,
            "MONGODB_DATABASE": "chronicle",
            "DAGSTER_HOME": str(home),
            "HF_HUB_OFFLINE": "1",
        }
        yield server.uri


def run_beside(command: list[str]) -> int:
    """Run a command that ends when this process does, with all the processes it starts: Ctrl-C, a signal, or SIGKILL.

    Returns:
        The command's exit status; 130 after Ctrl-C, as shells have it.
    """
    # A shell's background starts with SIGINT ignored, which a command would inherit; a handler it does not inherit.
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    process = subprocess.Popen(command, process_group=0)
    # Nobody can catch SIGKILL, but a pipe whose other end is gone reads as its end, on every Unix.
    watch = 'read -r ended || kill -s TERM -- "-$0"'
    watcher = subprocess.Popen(
        ["sh", "-c", watch, str(process.pid)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
    )
    try:
        status = process.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        status = INTERRUPTED
    watcher.communicate(b"ended\n")
    return status


def main() -> int:
    folder, *command = sys.argv[1:]
    with demo_environment(Path(folder)) as uri:
        sys.stderr.write(f"the demo's MongoDB: {uri}\n")
        return run_beside(command)


if __name__ == "__main__":
    raise SystemExit(main())
