"""TensorBoard: the curves of a training as event files, where the package is installed."""

import importlib.util
import logging
from pathlib import Path

from transformers import TrainerCallback
from transformers.integrations.integration_utils import TensorBoardCallback

logger = logging.getLogger(__name__)


def tensorboard_callbacks(folder: Path) -> list[TrainerCallback]:
    """What writes the event files to a folder; nothing, and a warning, where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        logger.warning("training.tensorboard is on, but TensorBoard is not installed: pip install tensorboard")
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(str(folder)))]
