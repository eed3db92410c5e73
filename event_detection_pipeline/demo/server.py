"""The demo's MongoDB: an embedded server (secantusdb, really on disk), alone or around another command.

python -m event_detection_pipeline.demo.server .demo dagster dev -w workspace.yaml
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from event_detection_pipeline.config import CONFIG_ENV
from event_detection_pipeline.errors import PipelineError

CONFIG = """\
# The demo's settings, written anew by each `make demo`.
data_dir = "{folder}/data"
base_model = "{folder}/models/whisper-tiny.en"

[[events]]
name = "chime"
"""


class DemoExtraMissing(PipelineError):
    """The demo's packages are not installed."""


@contextmanager
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


def main() -> int:
    folder, *command = sys.argv[1:]
    with demo_environment(Path(folder)) as uri:
        sys.stderr.write(f"the demo's MongoDB: {uri}\n")
        try:
            return subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    raise SystemExit(main())
