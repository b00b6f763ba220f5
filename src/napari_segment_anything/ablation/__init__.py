"""Ablations: train variants of one configuration, evaluate each, and compare (SAM, section 7.6)."""

from .plan import AblationPlan, Variant, read_plan
from .run import AblationResult, ablate_steps

__all__ = ["AblationPlan", "AblationResult", "Variant", "ablate_steps", "read_plan"]
