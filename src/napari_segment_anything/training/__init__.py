"""Training: the paper's algorithm, a dense head beside it, and the data that feeds both."""

from .config import TrainingConfig
from .run import TrainingResult, train, train_steps
from .toml import read_config

__all__ = ["TrainingConfig", "TrainingResult", "read_config", "train", "train_steps"]
