"""One of the processes in which the step candidate_adapter trains on several cards: torchrun starts them, and Dagster
Pipes carries the first one's log into the step's.

It knows nothing of the step but the arguments: manifest, the folder for the adapter, and the event's name.
"""

import logging
import sys
from pathlib import Path

from dagster_pipes import open_dagster_pipes

from event_detection_pipeline.config import load_settings


def train(manifest: Path, folder: Path, event_name: str) -> None:
    """Train, or share the training. Raises what `train_candidate` does; the step hears of it."""
    from event_detection_pipeline.adapters.candidate import share_training, train_candidate
    from event_detection_pipeline.adapters.device import choose_compute
    from event_detection_pipeline.adapters.distributed import launched

    settings, processes = load_settings(), launched()
    event = settings.event(event_name)
    if not processes.is_first:
        share_training(event, settings, choose_compute(settings.device), processes)
        return
    with open_dagster_pipes() as step:
        logger = logging.getLogger("event_detection_pipeline")
        logger.setLevel(logging.INFO)
        for handler in step.log.handlers:
            logger.addHandler(handler)
        train_candidate(manifest, folder, event, settings, choose_compute(settings.device), processes)


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
