"""Segment Anything for scientific images: in napari, in scripts, on the command line.

Every public name is imported on first use, so that importing the package costs
milliseconds and loads neither torch nor Qt nor napari.

>>> import napari_segment_anything as nsa
>>> model = nsa.load_model("default")                                    # doctest: +SKIP
>>> table = nsa.segment_everything(nsa.sample("coins").image, model)     # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import names_on_first_use

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .automatic import CandidateTable, generate_candidates, segment_everything
    from .bridge import attach
    from .checkpoints import (
        CatalogueEntry,
        Checkpoint,
        cache_directory,
        catalogue,
        download,
        load_checkpoint,
        save_checkpoint,
    )
    from .engine import (
        Embedding,
        Model,
        PlacedMask,
        Prediction,
        Predictor,
        Prompts,
        Segmented,
        Segmenter,
        Window,
        load_model,
        quantize,
    )
    from .errors import (
        CheckpointError,
        DownloadError,
        FormatError,
        ImageError,
        ParameterError,
        PromptError,
        ResourceError,
        SegmentAnythingError,
    )
    from .finding import (
        find,
        find_stack,
        find_stack_steps,
        find_steps,
        learn_concept_steps,
        load_finder,
    )
    from .formats import Detection, ImageData, read_detections, read_image
    from .large import LargePlan, LargeResult, open_large, plan_large, redecode, segment_large
    from .measures import measure_labels
    from .progress import Progress, finish
    from .projects import ImageSource, ObjectClass, ObjectEntry, Project, ProjectImage
    from .refining import Refined, refine, refine_steps
    from .samples import Sample, sample, sample_names
    from .stacks import PropagationResult, StackResult, propagate, segment_stack
    from .training import TrainingConfig, TrainingResult, pretrain, train

_HOMES = {
    "automatic": ("segment_everything", "generate_candidates", "CandidateTable"),
    "bridge": ("attach",),
    "checkpoints": (
        "catalogue",
        "CatalogueEntry",
        "Checkpoint",
        "cache_directory",
        "download",
        "load_checkpoint",
        "save_checkpoint",
    ),
    "engine": (
        "load_model",
        "Model",
        "Segmenter",
        "Segmented",
        "PlacedMask",
        "Predictor",
        "Embedding",
        "Prediction",
        "Prompts",
        "Window",
        "quantize",
    ),
    "errors": (
        "SegmentAnythingError",
        "CheckpointError",
        "DownloadError",
        "FormatError",
        "ImageError",
        "ParameterError",
        "PromptError",
        "ResourceError",
    ),
    "finding": (
        "find",
        "find_steps",
        "find_stack",
        "find_stack_steps",
        "learn_concept_steps",
        "load_finder",
    ),
    "formats": ("read_image", "ImageData", "read_detections", "Detection"),
    "large": ("segment_large", "plan_large", "open_large", "redecode", "LargePlan", "LargeResult"),
    "measures": ("measure_labels",),
    "progress": ("Progress", "finish"),
    "projects": ("Project", "ProjectImage", "ImageSource", "ObjectClass", "ObjectEntry"),
    "refining": ("refine", "refine_steps", "Refined"),
    "samples": ("sample", "sample_names", "Sample"),
    "stacks": ("segment_stack", "propagate", "StackResult", "PropagationResult"),
    "training": ("train", "pretrain", "TrainingConfig", "TrainingResult"),
}

__all__ = [
    "__version__",
    "load_model",
    "Model",
    "Segmenter",
    "Segmented",
    "PlacedMask",
    "Predictor",
    "Prompts",
    "Embedding",
    "Prediction",
    "Window",
    "quantize",
    "segment_everything",
    "generate_candidates",
    "CandidateTable",
    "measure_labels",
    "find",
    "find_steps",
    "learn_concept_steps",
    "find_stack",
    "find_stack_steps",
    "load_finder",
    "segment_large",
    "plan_large",
    "open_large",
    "redecode",
    "LargePlan",
    "LargeResult",
    "segment_stack",
    "propagate",
    "StackResult",
    "PropagationResult",
    "refine",
    "refine_steps",
    "Refined",
    "attach",
    "read_image",
    "ImageData",
    "read_detections",
    "Detection",
    "sample",
    "sample_names",
    "Sample",
    "catalogue",
    "CatalogueEntry",
    "cache_directory",
    "download",
    "load_checkpoint",
    "save_checkpoint",
    "Checkpoint",
    "Project",
    "ProjectImage",
    "ImageSource",
    "ObjectClass",
    "ObjectEntry",
    "train",
    "pretrain",
    "TrainingConfig",
    "TrainingResult",
    "Progress",
    "finish",
    "SegmentAnythingError",
    "CheckpointError",
    "DownloadError",
    "FormatError",
    "ImageError",
    "ParameterError",
    "PromptError",
    "ResourceError",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = names_on_first_use(
        __name__, {module: " ".join(names) for module, names in _HOMES.items()}
    )
