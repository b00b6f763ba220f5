"""What finds the objects of a window: everything mode of a model, or a function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..automatic import choose_mode, segment_everything
from ..automatic.heads import dense_head
from ..automatic.parameters import resolve
from ..engine import Model, load_model
from ..engine.device import choose_device, choose_precision, encoder_work, precision_name
from ..errors import CheckpointError, ParameterError
from ..progress import Progress, mapped

Limits = Sequence[tuple[float, float]]
"""Contrast limits: (low, high) for each channel."""
WindowFunction = Callable[[NDArray[Any]], Any]
"""From the pixels of a window (rows, columns, channels) to its label image, or to its label image
and a score for each label in ascending order."""
_FUNCTION_SIDE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class WindowObjects:
    """Objects of a window.

    Parameters
    ----------
    labels : unsigned integer array (rows, columns)
        0 is background; objects are 1 to n.
    scores, stability : float32 array (n,)
        Predicted IoU and stability score; NaN where unknown.
    """

    labels: NDArray[np.unsignedinteger]
    scores: NDArray[np.float32]
    stability: NDArray[np.float32]


Check = Callable[..., object]
"""Raises an error where what is in progress has to end."""
Segment = Callable[[NDArray[Any], Limits, Check], WindowObjects]
"""From pixels and contrast limits of a window to its objects; picklable."""


def going_on(*_: object) -> None:
    """Check nothing."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What a run segments with.

    Parameters
    ----------
    segment : callable
    side : int
        Side of a tile in pixels, by default.
    device : str
        Kind of the device it runs on.
    settings : dict
        What tells it from others, as plain values.
    """

    segment: Segment
    side: int
    device: str
    settings: dict[str, Any]


def prepare(
    model: Model | str | Path | WindowFunction,
    mode: str = "auto",
    policy: str = "small",
    parameters: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    instance_decoder: str | Path | None = None,
    cluster: Any = None,
) -> Generator[Progress, None, Segmentation]:
    """Load the model, and determine what every process will segment with.

    Parameters
    ----------
    model : Model, str, Path or callable
        As for `segment_large`.
    mode, policy, parameters
        Of everything mode.
    device, precision, instance_decoder : str
        As for `load_model`.
    cluster : DaskRunner, optional
        Where tiles are worked on, if not in this process.

    Yields
    ------
    Progress
        While a worker of the cluster is waited for.

    Raises
    ------
    ParameterError
        If parameters do not fit the model, or workers cannot load it.
    """
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    if callable(model) and not isinstance(model, Model):
        if given or mode != "auto" or instance_decoder is not None:
            raise ParameterError(
                "mode, instance_decoder and the parameters of everything mode are for models, not "
                "for functions"
            )
        name = f"{model.__module__}.{getattr(model, '__qualname__', type(model).__qualname__)}"
        settings: dict[str, Any] = {
            "model": name,
            "precision": None,
            "mode": None,
            "parameters": {},
        }
        return Segmentation(FunctionSegment(model), _FUNCTION_SIDE, "cpu", settings)
    loaded, spec = _load(model, device, precision, instance_decoder, cluster is not None)
    if cluster is not None and not isinstance(model, Model):
        answers = cluster.ask(
            settled_precision, spec.device, spec.precision, loaded.network.config.encoder_kind
        )
        waiting = Progress(0, 1, message="waiting for a worker")
        spec = replace(spec, precision=str((yield from mapped(answers, lambda _: waiting))))
    mode = choose_mode(loaded, mode)
    values = resolve(mode, given, loaded.everything_defaults(mode), dense_head(loaded))
    if cluster is None:
        _keep(spec, loaded)
    settings = {
        "model": loaded.fingerprint,
        "precision": spec.precision,
        "mode": mode,
        "parameters": values,
    }
    segment = ModelSegment(spec, mode, policy, given)
    return Segmentation(segment, loaded.image_size, loaded.device.type, settings)


@dataclass(frozen=True, slots=True)
class FunctionSegment:
    """Objects by a function of the pixels.

    Parameters
    ----------
    function : callable
        See `WindowFunction`.
    """

    function: WindowFunction

    def __call__(
        self, pixels: NDArray[Any], limits: Limits, check: Check = going_on
    ) -> WindowObjects:
        """Return the objects of a window.

        Raises
        ------
        ParameterError
            If the function returns something else than labels, or labels and scores.
        """
        found = self.function(pixels)
        labels, scores = found if isinstance(found, tuple) else (found, None)
        labels = np.asarray(labels)
        if labels.dtype.kind not in "iu" or labels.shape != pixels.shape[:2] or labels.min() < 0:
            raise ParameterError(
                f"the function has to return labels, integers of shape {pixels.shape[:2]}, not "
                f"{labels.dtype} of shape {labels.shape}"
            )
        ids, ranks = np.unique(labels, return_inverse=True)
        if len(ids) and ids[0]:
            ids, ranks = np.concatenate([[0], ids]), ranks + 1
        count = max(len(ids) - 1, 0)
        known = np.ones(count, np.float32) if scores is None else np.asarray(scores, np.float32)
        if known.shape != (count,):
            raise ParameterError(f"the function gave {known.shape} scores for {count} objects")
        return WindowObjects(
            ranks.reshape(labels.shape).astype(_id_type(count)),
            known,
            np.full(count, np.nan, np.float32),
        )


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model, so that any process can load it.

    Parameters
    ----------
    source : str
        Name, path or URL, as for `load_model`.
    fingerprint : str
        Of its weights.
    device, precision : str
        As for `load_model`.
    instance_decoder : str, optional
        As for `load_model`.
    """

    source: str
    fingerprint: str
    device: str = "auto"
    precision: str = "auto"
    instance_decoder: str | None = None


@dataclass(frozen=True, slots=True)
class ModelSegment:
    """Objects by everything mode of a model, which each process loads once.

    Parameters
    ----------
    model : ModelSpec
    mode, policy : str
        As for `segment_everything` and `CandidateTable.resolve`.
    parameters : mapping
        Of everything mode.
    """

    model: ModelSpec
    mode: str
    policy: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self, pixels: NDArray[Any], limits: Limits, check: Check = going_on
    ) -> WindowObjects:
        """Return the objects of a window, in the order of the candidates."""
        table = segment_everything(
            pixels,
            model_of(self.model),
            self.mode,
            check,
            contrast_limits=limits,
            channel_axis=2,
            **self.parameters,
        )
        resolved = table.resolve(self.policy)
        rows = np.flatnonzero(resolved.label)
        ids = np.zeros(int(resolved.labels.max(initial=0)) + 1, _id_type(len(rows)))
        ids[resolved.label[rows]] = np.arange(1, len(rows) + 1)
        kept = table.kept[rows]
        return WindowObjects(
            ids[resolved.labels],
            table.candidates.predicted_iou[kept].astype(np.float32),
            table.candidates.stability_score[kept].astype(np.float32),
        )


def _id_type(count: int) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if count < 65535 else np.uint32


_loaded: dict[ModelSpec, Model] = {}
_loading = threading.Lock()


def _keep(spec: ModelSpec, model: Model) -> None:
    """Let this process use a model that it has loaded already."""
    with _loading:
        _loaded[spec] = model


def model_of(spec: ModelSpec) -> Model:
    """Return a model, loaded once in each process.

    Raises
    ------
    CheckpointError
        If the file holds other weights here than where the run was begun.
    """
    with _loading:
        if spec not in _loaded:
            options = {}
            if spec.instance_decoder is not None:
                options["instance_decoder"] = spec.instance_decoder
            model = load_model(spec.source, spec.device, spec.precision, **options)
            if model.fingerprint != spec.fingerprint:
                raise CheckpointError(
                    f"{spec.source} holds other weights on this machine than where the run was "
                    "begun; give every worker the same file"
                )
            _loaded.clear()  # one model per process
            _loaded[spec] = model
        return _loaded[spec]


def settled_precision(device: str, precision: str, encoder: str) -> str:
    """Return the precision that a model would have in this process.

    Parameters
    ----------
    device, precision : str
        As for `load_model`.
    encoder : str
        Kind of its image encoder.
    """
    where = choose_device(device)
    found = [choose_precision(precision, where, w)[0] for w in (encoder_work(encoder), "decoder")]
    return precision_name(*found)


def _load(
    model: Any, device: str, precision: str, instance_decoder: str | Path | None, remote: bool
) -> tuple[Model, ModelSpec]:
    """Return a loaded model, and what tells other processes how to load it."""
    if isinstance(model, Model):
        if remote and model.source is None:
            raise ParameterError(
                "workers of a cluster cannot load this model: give its name or file "
                "(model='vit_b' or a path) in place of a model made in this process"
            )
        device = "auto" if remote else str(model.device)
        name, precision = model.source or "", model.precision
    else:
        options: dict[str, Any] = {}
        if instance_decoder is not None:
            options["instance_decoder"] = instance_decoder
        # a driver of a cluster only asks what the model is
        where = ("cpu", "fp32") if remote else (device, precision)
        name, model = str(model), load_model(model, *where, **options)
        name = model.source or name
        precision = precision if remote else model.precision
    return model, ModelSpec(
        name, model.fingerprint, device, precision, model.instance_decoder_source
    )
