"""Run the protocols on labelled images, and keep every answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..automatic import available_modes, choose_mode
from ..datasets import Entry, LabelledPlane, ObjectClasses, read_planes
from ..engine import EmbeddingCache, Model, Predictor
from ..errors import FormatError, ImageError, ParameterError
from ..formats.labels import write_labels
from ..progress import Progress
from . import protocols as ask
from .edge_maps import edges
from .instances import instances
from .protocols import PROTOCOLS, USUAL, PromptSettings, Subject
from .single_points import single_point
from .store import RESULTS, ResultStore

_CACHE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The answers of a model.

    Parameters
    ----------
    folder : Path
        Folder of the results.
    header : mapping
        Model, precision, settings.
    records : list of dict
        One per image and protocol: keys image, file, set, columns, protocol, seconds (without the
        encoder), and those of the functions in `protocols`. Protocol names of everything mode end
        with the mode.
    failures : mapping of str to str
        Images that could not be read, with the reason; the next call tries them again.
    """

    folder: Path
    header: Mapping[str, Any]
    records: list[dict[str, Any]]
    failures: Mapping[str, str] = field(default_factory=dict)


def protocol_names(model: Model, protocols: Sequence[str], modes: Sequence[str]) -> list[str]:
    """Names of the results: everything mode once per mode, with the mode in its name.

    Parameters
    ----------
    model : Model
        Determines what "auto" and "all" mean.
    protocols, modes : sequence of str
        Of `PROTOCOLS`, and of the modes of everything mode, "auto" or "all".

    Raises
    ------
    ParameterError
        If one is unknown, or the model cannot do a mode.
    """
    for name in protocols:
        if name not in PROTOCOLS:
            raise ParameterError(f"there is no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    if not protocols or not modes:
        raise ParameterError("name at least one protocol and one mode")
    settled: list[str] = []
    for mode in modes:
        settled += available_modes(model) if mode == "all" else [choose_mode(model, mode)]
    names: list[str] = []
    for name in PROTOCOLS:
        if name in protocols:
            many = [f"everything:{mode}" for mode in dict.fromkeys(settled)]
            names += many if name == "everything" else [name]
    return names


def evaluate(
    entries: Sequence[Entry],
    model: Model,
    output: str | Path,
    *,
    protocols: Sequence[str] = USUAL,
    modes: Sequence[str] = ("auto",),
    settings: PromptSettings | None = None,
    parameters: Mapping[str, Any] | None = None,
    planes: int = 10,
    axes: str | None = None,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    detections: str | Path | None = None,
    classes: ObjectClasses | None = None,
    overwrite: bool = False,
) -> Generator[Progress, None, Evaluation]:
    """Evaluate a model on labelled images; a stopped evaluation is resumed.

    Parameters
    ----------
    entries : sequence of Entry
        From `find_entries`.
    model : Model
        A loaded model.
    output : path
        Folder of the results, created if necessary: ``results.jsonl``, and the label images of
        everything mode in ``labels/``.
    protocols : sequence of str
        Of `PROTOCOLS`; by default those of `USUAL`.
    modes : sequence of str
        Everything modes to run: "auto", "all", "grid", "proposals", "instances".
    settings : PromptSettings, optional
        Which objects are prompted, and how often.
    parameters : mapping, optional
        Parameters of everything mode, in place of the model's own. Thresholds do not apply to the
        protocol "proposals".
    planes : int
        Number of planes of a stack, at most.
    axes, channel_axis, channels
        As for `read_planes`.
    detections : path, optional
        A detector's boxes for the protocol "instances": a COCO file for all images, or a folder
        with a file for each; see `instances.detections_of`.
    classes : ObjectClasses, optional
        From `read_classes`: proposals are also counted by how common the class of an object is.
    overwrite : bool
        Remove earlier results.

    Yields
    ------
    Progress
        After each image; `partial` is the latest record.

    Returns
    -------
    Evaluation
        With the records of the given images, including those of earlier calls.

    Raises
    ------
    ParameterError
        If a protocol, mode or parameter is wrong, or the folder holds results of another model or
        other settings.
    ResourceError
        If another process is writing to the folder.
    """
    settings = settings or PromptSettings()
    if planes < 1:
        raise ParameterError(f"planes is at least 1, not {planes}")
    names = protocol_names(model, protocols, modes)
    boxes = None if detections is None else Path(detections).expanduser()
    if ("instances" in names) != (boxes is not None):
        raise ParameterError("the protocol 'instances' and a detector's boxes go together")
    folder = Path(output).expanduser()
    header = {
        "model": model.name,
        "architecture": model.architecture,
        "fingerprint": model.fingerprint,
        "precision": model.precision,
        "settings": settings.to_dict(),
        "planes": planes,
        "axes": axes,
        "channel_axis": channel_axis,
        "channels": None if channels is None else list(channels),
        "parameters": dict(parameters or {}),
        **({} if boxes is None else {"detections": str(boxes)}),
        **({} if classes is None else {"classes": classes.to_dict()}),
        "package": __version__,
    }
    if overwrite:
        (folder / RESULTS).unlink(missing_ok=True)
    store = ResultStore(folder, header)
    predictor = Predictor(model, EmbeddingCache(memory_bytes=_CACHE_BYTES))
    failures: dict[str, str] = {}
    with store.writing():
        for number, entry in enumerate(entries):
            wanted = [name for name in names if (entry.name, name) not in store.complete]
            yield Progress(number, len(entries), None, entry.name)
            if not wanted:
                continue
            try:
                for plane in planes_of(entry, header):
                    _one(
                        plane, wanted, predictor, settings, parameters or {}, boxes, classes, store
                    )
            except (ImageError, FormatError) as error:
                failures[entry.name] = str(error)
                continue
            for name in wanted:
                store.finish(entry.name, name)
    yield Progress(len(entries), len(entries), None, "done")
    # measures are kept from earlier calls; what is known of an image may be more by now
    columns = {entry.name: dict(entry.columns) for entry in entries}
    records = [
        {**record, "columns": columns[record["file"]]}
        for (_, name), record in store.records.items()
        if record["file"] in columns and name in names
    ]
    return Evaluation(folder, store.header, records, failures)


def planes_of(entry: Entry, header: Mapping[str, Any]) -> Iterator[LabelledPlane]:
    """Read the planes of an image as recorded in the header of an evaluation.

    Parameters
    ----------
    entry : Entry
    header : mapping
        Of `Evaluation`.
    """
    return read_planes(
        entry,
        int(header["planes"]),
        axes=header.get("axes"),
        channel_axis=header.get("channel_axis"),
        channels=header.get("channels"),
    )


def _one(
    plane: LabelledPlane,
    names: Sequence[str],
    predictor: Predictor,
    settings: PromptSettings,
    parameters: Mapping[str, Any],
    boxes: Path | None,
    classes: ObjectClasses | None,
    store: ResultStore,
) -> None:
    """Run the protocols that have no record yet for a plane."""
    subject = Subject(plane, predictor, settings)
    simple: dict[str, Callable[[Subject], dict[str, Any]]] = {
        "points": ask.points,
        "boxes": ask.boxes,
        "clicks": ask.clicks,
        "proposals": lambda subject: ask.proposals(subject, parameters, classes),
        "grid_proposals": lambda subject: ask.proposals(subject, parameters, classes, "grid"),
        "edges": edges,
        "single_point": single_point,
        "instances": lambda subject: instances(subject, boxes or Path()),
    }
    for name in names:
        if (plane.name, name) in store.records:
            continue
        if name != "floors":
            subject.encode()
        began = time.perf_counter()
        if name in simple:
            record = simple[name](subject)
        else:
            if name == "floors":
                record, labels = ask.floors(subject)
            else:
                mode = name.partition(":")[2]
                record, labels = ask.everything(subject, mode, parameters)
            write_labels(label_path(store.folder, plane.name, name), labels)
        store.add(
            {
                "image": plane.name,
                "file": plane.file,
                "set": plane.set,
                "columns": dict(plane.columns),
                "protocol": name,
                "seconds": round(time.perf_counter() - began, 3),
                **record,
            }
        )


def label_path(folder: Path, image: str, protocol: str) -> Path:
    """Path of the label image of everything mode or the floor.

    Parameters
    ----------
    folder : Path
        Of the evaluation.
    image, protocol : str
        Names, as in a record.
    """
    kind = protocol.partition(":")[2] or "otsu-watershed"
    path = folder / "labels" / kind / label_name(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def label_name(image: str) -> str:
    """Name of the file with the labels of an image of an evaluation, by the name in its record."""
    return f"{image.replace('/', '__').replace(':', '_plane')}.tif"
