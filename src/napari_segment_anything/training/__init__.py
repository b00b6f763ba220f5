"""Training: the paper's algorithm, a dense head beside it, and the data that feeds both."""

from .config import TrainingConfig, read_config
from .run import TrainingResult, train, train_steps

__all__ = ["TrainingConfig", "TrainingResult", "read_config", "train", "train_steps"]
