"""Configuration of a training run: frozen dataclasses of plain values that check themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..datasets.finding import IMAGE_FOLDERS
from ..errors import ParameterError
from ..limits import NETWORK_SIDE
from ..network.micro import MicroConfig
from ..reading import plain_name
from .augment import AugmentConfig
from .cropping import CropConfig
from .masking import MaskingConfig

SCRATCH = "scratch"
PROMPTS = ("", "clip")
TRAINED = ("whole", "decoder", "lora")
DRAWN = ("generated", "nested", "shapes")
_MOST = 10**9


@dataclass(frozen=True)
class StageConfig:
    """One stage of training: what is trained, for how long, on what crops.

    Parameters
    ----------
    name : str
        Names the stage's checkpoint and log, in the run's folder.
    steps : int
        Optimiser steps.
    start : int
        First step, for a stage that continues from weights alone when the rest of an earlier run
        is lost. Learning rates and crops are those of this step; the optimiser's moments start
        from zero.
    batch_size : int
        Crops per step.
    crop : CropConfig
        How crops are cut.
    learning_rate, encoder_learning_rate, refiner_learning_rate : float
        Peak learning rates of the decoder, of the encoder, and of the mask refiner of a model that
        has one; 0 freezes that part. No gradient passes from the refiner to the other parts.
    final_rate : float
        Learning rate at the end of the cosine schedule, relative to the peak.
    warmup : int
        Steps of linear warm-up.
    weight_decay : float
        AdamW, on weights of more than one dimension.
    dense_weight : float
        Weight of the dense head's losses relative to those of the masks.
    touching_weight, box_iou_weight, separation_weight : float
        Weights of optional terms of the dense head's loss, see `losses.dense_loss`.
    objects : int
        Objects prompted per crop; 0 trains the encoder and its dense head alone.
    cells : int
        Embedding cells decoded per crop: the number of objects is this divided by the cells of a
        window, at least two. 0 takes `objects` for every window size.
    rounds : int
        Rounds of prompts per object, the first included.
    silent_rounds : int
        Rounds without a new point, in which only the last mask is fed back: the final round, then
        others drawn between the first and the final one (two of eleven in the paper).
    box_share : float
        Share of objects that start from a box.
    box_point_share : float
        Share of steps in which boxes come with a point of the object.
    windows : tuple of int
        Side lengths of the decoder's windows in embedding cells; one is drawn per step.
    clip : float
        Gradients are clipped to this norm.
    ema : float
        Decay of the exponential moving average of the weights.
    assume : float
        Share of the steps after which the network labels those parts of images that nobody has
        looked at, where it is confident (see `assumed`), and once more halfway from there to the
        end; 0 never does.
    views : int
        With a frozen encoder: number of fixed crops of each image, whose embeddings are kept. 0
        draws new crops at every step.
    """

    name: str
    steps: int
    batch_size: int = 8
    crop: CropConfig = field(default_factory=CropConfig)
    learning_rate: float = 0.0
    encoder_learning_rate: float = 0.0
    refiner_learning_rate: float = 0.0
    final_rate: float = 0.02
    warmup: int = 100
    weight_decay: float = 0.02
    dense_weight: float = 1.0
    touching_weight: float = 0.0
    box_iou_weight: float = 0.0
    separation_weight: float = 0.0
    objects: int = 0
    cells: int = 0
    rounds: int = 3
    silent_rounds: int = 0
    box_share: float = 0.5
    box_point_share: float = 0.2
    windows: tuple[int, ...] = (20, 20, 32)
    clip: float = 1.0
    ema: float = 0.998
    assume: float = 0.0
    views: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 1 if name in ("steps", "batch_size", "rounds") else 0
            number = isinstance(value, int | float) and name != "clip"  # which may be infinite
            if number and not least <= value < _MOST:  # nor NaN
                raise ParameterError(f"{name} is at least {least} and below 1e9, not {value}")
        for name in ("box_share", "box_point_share", "ema", "assume"):
            if getattr(self, name) > 1:
                raise ParameterError(f"{name} lies between 0 and 1, not {getattr(self, name)}")
        if self.start >= self.steps:
            raise ParameterError(f"start {self.start} lies beyond the stage's {self.steps} steps")
        if self.silent_rounds > max(self.rounds - 1, 0):
            raise ParameterError(
                f"silent_rounds {self.silent_rounds}: the first of {self.rounds} rounds needs a "
                "prompt of its own"
            )
        if not self.windows or not 1 <= min(self.windows) <= max(self.windows) <= 4096:
            raise ParameterError(
                f"windows are sides in cells, such as [20, 32]; not {self.windows}"
            )
        if not 16 <= self.crop.size <= NETWORK_SIDE.value or self.crop.size % 16:
            raise ParameterError(f"crop.size is a multiple of 16 pixels, not {self.crop.size}")


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adaptation of the image encoder (Hu et al. 2021, arXiv:2106.09685).

    Parameters
    ----------
    rank : int
        Rank of the matrix added to a layer's weights.
    alpha : float
        The addition is scaled by alpha / rank.
    """

    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= NETWORK_SIDE.value or not 0 < self.alpha < _MOST:
            raise ParameterError(
                f"lora: rank is 1 to {NETWORK_SIDE.value} and alpha above 0, not {self.rank} and "
                f"{self.alpha}"
            )


@dataclass(frozen=True)
class DataConfig:
    """One set of labelled images: where it lies and how it is used.

    Give one of `folder`, `images` (with or without `labels`), `records` or `generated`.
    `datasets.find_entries` says which layouts are understood.

    Parameters
    ----------
    folder : str
        A folder of images and labels, or of such folders; or ``sample:NAME``.
    images, labels : str
        A folder or a file each.
    records : str
        A folder of images, each with a JSON file of its name as SA-1B has them. Masks may overlap.
    generated : int
        Number of images generated by the package.
    kind : {"generated", "nested", "shapes"}
        What they show: separate objects of many kinds; objects with a labelled part inside; or
        packed, elongated, branching and textured objects.
    name : str
        What the set is called; the folder's name unless given.
    weight : float
        How often crops are drawn from it, relative to the other sets.
    validation : float or tuple of str
        Share of the images that is held out, chosen by a hash of their names; or their names.
    train : tuple of str
        Names of the images to train on; by default all that are not held out.
    split : str
        Path of a JSON file ``{set: {file: part}}`` with the parts "train" and "validation", in
        place of `validation` and `train`. Images that are not in it are left out.
    metadata : str
        Path of a CSV or JSON file with columns.
    where : mapping of str to str
        Only images with these values in the columns.
    limit : int
        Number of images, evenly spread over each folder; 0 takes all.
    share : float
        Share of the images to train on that are used, at least one; chosen by a hash of their
        names, so that a smaller share is a part of a larger one. Held-out images all stay.
    complete : bool
        Whether every object is labelled; if not, only the objects have a loss, and in the decoder
        a ring around each.
    channel_axis : int
        Axis of the channels, for files without axis metadata.
    channels : tuple of int
        Channels to use.
    axes : str
        Axes of the files, such as "ZYX", for files without axis metadata.
    planes : int
        Number of evenly spaced planes taken from a stack, at most.
    every_axis : bool
        Take planes of volumes along rows and columns too.
    wholes : str
        Name of an array in NPZ files with labels of larger objects that contain the others.
    seen : str
        Name of an array in NPZ files of labels that is nonzero where every object is labelled;
        elsewhere the background has no loss.
    levels : str
        In place of `seen`, name of an array in NPZ files of labels with a level for each pixel, as
        `training.seen` defines them; a project's export has one.
    unlabelled : {"error", "skip"}
        Raise an error for images without labels, or leave them out.
    """

    folder: str = ""
    images: str = ""
    labels: str = ""
    records: str = ""
    generated: int = 0
    kind: str = "generated"
    name: str = ""
    weight: float = 1.0
    validation: float | tuple[str, ...] = 0.0
    train: tuple[str, ...] = ()
    split: str = ""
    metadata: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    limit: int = 0
    share: float = 1.0
    complete: bool = True
    channel_axis: int | None = None
    channels: tuple[int, ...] | None = None
    axes: str = ""
    planes: int = 10
    every_axis: bool = False
    wholes: str = ""
    seen: str = ""
    levels: str = ""
    unlabelled: str = "error"

    def __post_init__(self) -> None:
        kinds = ("folder", "images", "records", "generated")
        given = [kind for kind in kinds if getattr(self, kind)]
        if len(given) != 1:
            raise ParameterError(
                f"a [[data]] set needs one of {', '.join(kinds)}; it has "
                f"{' and '.join(given) or 'none'}"
            )
        if self.labels and not self.images:
            raise ParameterError("'labels' go with 'images'; a 'folder' holds both")
        if self.split and (self.validation or self.train or self.generated):
            raise ParameterError("a 'split' says what 'validation' and 'train' would; leave it out")
        if self.levels and self.seen:
            raise ParameterError("'levels' say what 'seen' would; leave it out")
        if isinstance(self.validation, float | int) and not 0 <= self.validation < 1:
            raise ParameterError(f"validation is a share from 0 to below 1, not {self.validation}")
        if not 0 < self.share <= 1:
            raise ParameterError(f"share lies above 0, up to 1, not {self.share}")
        counts = (self.generated, self.limit)
        if not 0 <= self.weight < _MOST or self.planes < 1 or min(counts) < 0:
            raise ParameterError("weight, generated and limit are at least 0, planes at least 1")
        if self.generated >= 10**6:
            raise ParameterError(f"generated is below a million, not {self.generated}")
        if self.kind not in DRAWN:
            raise ParameterError(f"kind is one of {', '.join(DRAWN)}, not {self.kind!r}")
        if self.unlabelled not in ("error", "skip"):
            raise ParameterError(f"unlabelled is 'error' or 'skip', not {self.unlabelled!r}")

    @property
    def title(self) -> str:
        """What the set is called."""
        if self.name or self.generated:
            return self.name or self.kind
        path = Path(self.folder or self.images or self.records)
        plain = path.name.lower() in (*IMAGE_FOLDERS, "")
        return (path.resolve().parent.name if plain else path.name) or "images"


@dataclass(frozen=True)
class TrainingConfig:
    """A whole run.

    Parameters
    ----------
    stages : tuple of StageConfig
        Run one after the other, each from the averaged weights of the one before. Empty: a preset
        for the model and `train`, modified by `options`.
    seed : int
        Seed of all random numbers.
    augment : AugmentConfig or None
        Augmentation of pixel values; None takes the preset for the model.
    validate_every, save_every, log_every : int
        Steps between validations, checkpoints and log lines.
    validation_images : int
        Number of images for the quick validation, spread over the sets.
    model : str
        Starting point: "scratch", or the name, path or URL of a checkpoint.
    encoder : MicroConfig or None
        Size of the image encoder, from scratch; None takes that of the embedded model.
    encoder_weights : str
        Name, path or URL of a checkpoint, such as one of `pretrain`, whose image encoder takes the
        place of that of `model`.
    masking : MaskingConfig or None
        Masks and decoder of a pre-training; None in any other training.
    train : {"whole", "decoder", "lora"}
        What is trained: all weights, the prompt encoder and the mask decoder, or these and
        low-rank additions to the image encoder.
    lora : LoraConfig
        For train = "lora".
    prompt : {"", "clip"}
        "clip" trains text prompts as well, from image embeddings of large objects (paper,
        appendix D.5): a projection into the prompt encoder is added where the model has none.
    clip : str
        For prompt = "clip": the CLIP, as a name of the catalogue or the Hugging Face Hub, or a
        folder. The trained model needs it whenever it is given words.
    text_side : int
        For prompt = "clip": objects whose boxes are at least so many frame pixels wide and high
        have text prompts.
    data : tuple of DataConfig
        The images.
    options : mapping
        Values of `StageConfig` that replace those of the preset, if there are no stages.
    watch : str
        Validation measure that decides which weights are kept, such as "ap50", "box" or
        "point_best". Empty: the last weights are kept.
    patience : int
        Stop after this many validations without an improvement of `watch`; 0 never stops early.
    output : str
        The run's folder.
    name, licence : str
        For the model card.
    """

    stages: tuple[StageConfig, ...] = ()
    seed: int = 1
    augment: AugmentConfig | None = None
    validate_every: int = 500
    save_every: int = 250
    log_every: int = 20
    validation_images: int = 40
    model: str = SCRATCH
    encoder: MicroConfig | None = None
    encoder_weights: str = ""
    masking: MaskingConfig | None = None
    train: str = "whole"
    lora: LoraConfig = field(default_factory=LoraConfig)
    prompt: str = ""
    clip: str = ""
    text_side: int = 100
    data: tuple[DataConfig, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    watch: str = ""
    patience: int = 0
    output: str = ""
    name: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if self.train not in TRAINED:
            raise ParameterError(f"train is one of {', '.join(TRAINED)}, not {self.train!r}")
        if self.prompt not in PROMPTS:
            raise ParameterError(f"prompt is 'clip' or left out, not {self.prompt!r}")
        if (self.prompt == "clip") != bool(self.clip):
            raise ParameterError("prompt = 'clip' and clip = 'NAME OR FOLDER' go together")
        if not 1 <= self.text_side < _MOST:
            raise ParameterError(f"text_side is at least 1 pixel, not {self.text_side}")
        if self.model == SCRATCH and self.train != "whole":
            raise ParameterError(f"train = {self.train!r} needs a model to start from")
        if self.encoder is not None and self.model != SCRATCH:
            raise ParameterError(f"'encoder' is for model = '{SCRATCH}'; {self.model} has its own")
        if self.encoder is not None and self.encoder_weights:
            raise ParameterError("'encoder_weights' have a size of their own; leave 'encoder' out")
        if not abs(self.seed) < _MOST:
            raise ParameterError(f"seed lies within a billion of 0, not {self.seed}")
        for name in ("validate_every", "save_every", "log_every", "validation_images"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} is at least 1, not {getattr(self, name)}")
        if self.patience < 0 or (self.patience and not self.watch):
            raise ParameterError("patience is a number of validations of the measure 'watch' names")
        names = [plain_name(stage.name, "a stage").casefold() for stage in self.stages]
        if len(set(names)) < len(names):
            raise ParameterError("two stages have the same name")
        if self.stages and self.options:
            raise ParameterError(
                f"{', '.join(self.options)}: give these in the [[stages]], which this run has"
            )
        if self.options:
            values = {"steps": 1, **self.options}
            StageConfig("", **{**values, "crop": CropConfig(**values.get("crop", {}))})

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, for the log and the model card."""
        return asdict(self)
