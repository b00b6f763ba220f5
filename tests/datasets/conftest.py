"""The folder of two sets that evaluation is tested on."""

from ..evaluation.conftest import data

__all__ = ["data"]
