"""A folder with a model in the form of the transformers library: config.json and safetensors."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor
from typing_extensions import TypedDict

from ..errors import CheckpointError
from ..limits import NETWORK_SIDE
from ..reading import plain_name, read_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_IRRELEVANT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
_LAYERS, _WORDS = 1024, 2**21
"""Largest numbers of layers and of words in a configuration; of anything else: `NETWORK_SIDE`."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


class _Index(TypedDict):
    weight_map: dict[str, str]


@dataclass(frozen=True)
class ModelFolder:
    """A folder with config.json and safetensors, as transformers' `save_pretrained` writes it.

    Nothing else in it is read, but for the mean and deviation of pixels. Code is never run.

    Parameters
    ----------
    path : Path
    config : dict
        Content of config.json.
    """

    path: Path
    config: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> ModelFolder:
        """Read config.json.

        Raises
        ------
        CheckpointError
            If there is none, or it does not say which model this is.
        """
        path = Path(path).expanduser()
        if not (path / CONFIG).is_file():
            raise CheckpointError(
                f"{path} is a folder without {CONFIG}; give a checkpoint file, or a folder in the "
                "form of transformers"
            )
        folder = cls(path, _read_json(path / CONFIG, dict[str, Any]))
        if not isinstance(folder.config.get("model_type"), str):
            raise CheckpointError(f"{path / CONFIG} has no model_type; it is not of a known model")
        _bounded(folder.config, str(path / CONFIG))
        return folder

    @classmethod
    def of(cls, source: str | Path | ModelFolder, types: Collection[str], what: str) -> ModelFolder:
        """Read a folder, unless it was, and check that it holds a model of one of some types.

        Parameters
        ----------
        source : path or ModelFolder
        types : collection of str
            Of models, as in `model_type`.
        what : str
            What such models do, for the message: "boxes are found by".

        Raises
        ------
        CheckpointError
            As `read`, or if the model is of another type.
        """
        folder = source if isinstance(source, ModelFolder) else cls.read(source)
        if folder.model_type not in types:
            raise CheckpointError(
                f"{folder.path} holds a model of type {folder.model_type}; {what} "
                f"{', '.join(types)}"
            )
        return folder

    @property
    def model_type(self) -> str:
        """Name of the architecture, such as "sam2_video"."""
        return str(self.config["model_type"])

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Paths of its weights.

        Raises
        ------
        CheckpointError
            If a file is missing.
        """
        single, index = self.path / WEIGHTS, self.path / INDEX
        if single.is_file():
            return (single,)
        if not index.is_file():
            pickles = [p for p in self.path.iterdir() if p.suffix in _PICKLES]
            hint = f"; {pickles[0].name} is no safetensors file and is not read" if pickles else ""
            raise CheckpointError(f"{self.path} has no {WEIGHTS}{hint}")
        names = sorted(set(_read_json(index, _Index)["weight_map"].values()))
        for name in names:
            plain_name(name, f"a file in {index}", CheckpointError)
        missing = [name for name in names if not (self.path / name).is_file()]
        if missing:
            raise CheckpointError(f"{self.path} is incomplete: {', '.join(missing[:3])} is missing")
        return tuple(self.path / name for name in names)

    def tensors(self) -> dict[str, Tensor]:
        """Return its weights, mapped from disk.

        Raises
        ------
        CheckpointError
            If a file is damaged or truncated.
        """
        return {name: tensor for file in self.files for name, tensor in read_weights(file).items()}

    @property
    def settings(self) -> str:
        """What besides weights its masks depend on, as text."""
        fixed = {k: v for k, v in self.config.items() if k not in _IRRELEVANT}
        return json.dumps([fixed, self._pixels], sort_keys=True)

    def pixels(
        self, mean: tuple[float, ...], deviation: tuple[float, ...]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and deviation of pixels in 0..255 by which the model's images are normalised.

        Parameters
        ----------
        mean, deviation : tuple of float
            Of pixels in 0..1, if the folder does not say.
        """
        said = self._pixels
        return _channels(said[0], mean, self.path), _channels(said[1], deviation, self.path)

    @cached_property
    def _pixels(self) -> tuple[Any, Any]:
        """What the description of its processor says of mean and deviation."""
        for name in _PROCESSORS:
            if (self.path / name).is_file():
                said = _read_json(self.path / name, dict[str, Any])
                said = said.get("image_processor", said)
                if isinstance(said, dict):
                    return said.get("image_mean"), said.get("image_std")
        return None, None


def _bounded(value: Any, where: str, name: str = "") -> None:
    """Check the sizes in a configuration before memory is allocated for a network."""
    if isinstance(value, dict):
        for key, each in value.items():
            _bounded(each, where, str(key))
    elif isinstance(value, list):
        for each in value:
            _bounded(each, where, name)
    elif isinstance(value, int | float) and not name.endswith("_id"):
        if re.search(r"layers|blocks|depth", name):
            most: float = _LAYERS
        else:
            most = _WORDS if "vocab" in name else NETWORK_SIDE.value
        if abs(value) > most:
            raise CheckpointError(f"{where} has {name} {value}; at most {most} is supported")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, mapped from disk.

    Raises
    ------
    CheckpointError
        If it is damaged or truncated.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or incomplete ({error}); fetch it again"
        ) from error


def _channels(said: Any, default: tuple[float, ...], path: Path) -> tuple[float, ...]:
    """Return values for each channel, of pixels in 0..255."""
    values = default if said is None else said
    if not (
        isinstance(values, list | tuple)
        and len(values) == 3
        and all(isinstance(value, int | float) and 0 < value <= 1 for value in values)
    ):
        raise CheckpointError(f"{path}: mean and deviation are three numbers, not {values!r:.50}")
    return tuple(255.0 * value for value in values)


def _read_json(path: Path, kind: Any) -> Any:
    return read_json(path, kind, what="description of a model", error=CheckpointError)
