"""Volumes and time-lapses: objects followed through planes, linked and tracked."""

from .propagate import PropagationResult, PropagationView, propagate, propagate_steps

__all__ = ["PropagationResult", "PropagationView", "propagate", "propagate_steps"]
