"""Training: the paper's algorithm and a dense head; pre-training without labels."""

from .config import TrainingConfig
from .pretraining import pretrain, pretrain_steps
from .run import TrainingResult, train, train_steps
from .toml import read_config

__all__ = [
    "TrainingConfig",
    "TrainingResult",
    "pretrain",
    "pretrain_steps",
    "read_config",
    "train",
    "train_steps",
]
