"""Training: the paper's algorithm and a dense head, from scratch or as fine-tuning."""

from .config import TrainingConfig
from .run import TrainingResult, train, train_steps
from .toml import read_config

__all__ = ["TrainingConfig", "TrainingResult", "read_config", "train", "train_steps"]
