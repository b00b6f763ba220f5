"""Results of `napari-sam refine`: labels, masks, tables, and what to review."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import MORE, Result, check_folder, check_free

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine import Model
    from ..refining import Refined
    from .inputs import Input
    from .options import Reporting
    from .report import Show


def image_result(
    found: Refined, image: Input, model: Model, began: float, parameters: dict[str, Any]
) -> Result:
    """What is written to a folder.

    Parameters
    ----------
    found : Refined
    image : Input
    model : Model
    began : float
        Reading of `time.perf_counter` when the computation began.
    parameters : dict
        Of the computation.
    """
    more = _files(found, image.source)
    more.pop("masks", None)  # with the labels, the table and the overlay
    columns: dict[str, dict[int, Any]] = {}
    ids = found.ids.tolist()
    if "coco" in more:
        columns["class"] = dict(zip(ids, found.given.classes, strict=True))
    if any(score == score for score in found.given.scores):
        columns["score"] = dict(zip(ids, found.given.scores.tolist(), strict=True))
    columns["doubt"] = dict(zip(ids, found.doubt.tolist(), strict=True))
    return Result(
        image=image,
        model=model,
        labels=found.to_labels(),
        records=found.image_records(image.source),
        seconds=time.perf_counter() - began,
        facts=_facts(found),
        parameters=parameters,
        prompts=[{"box": box} for box in found.given.boxes.tolist()],
        columns=columns,
        more=more,
    )


def _facts(found: Refined) -> dict[str, int]:
    kinds = [hint.kind for hint in found.hints]
    return {
        "prompted": len(found),
        **{kind: kinds.count(kind) for kind in ("empty", "merge", "split")},
    }


class StoreOutput:
    """A store for labels of any size, with masks and tables beside it.

    Parameters
    ----------
    store : Path
        It ends in .zarr.
    label : str
        Name of the labels in it.
    overwrite : bool
        Whether files of an earlier run are replaced.
    report : Reporting
        What to print.
    image : Input
        What is segmented.

    Raises
    ------
    ParameterError
        If it cannot be written to, or something is there already.
    """

    def __init__(
        self, store: Path, label: str, overwrite: bool, report: Reporting, image: Input
    ) -> None:
        self.store, self.label, self.overwrite = store, label, overwrite
        self.report, self.image = report, image
        check_folder(store.parent)
        name = store.name.removesuffix(store.suffix).removesuffix(".ome")
        kinds = {"masks": "masks.json", **MORE}
        self.files = {kind: store.parent / f"{name}_{end}" for kind, end in kinds.items()}
        check_free(self.files.values(), overwrite)

    def write(self, found: Refined, model: Model, began: float, show: Show) -> None:
        """Write labels strip by strip, then the files beside the store, and report.

        Parameters
        ----------
        found : Refined
        model : Model
        began : float
            Reading of `time.perf_counter` when the computation began.
        show : callable
            Takes progress.
        """
        from ..formats import create_labels
        from ..formats.atomic import staging
        from ..progress import finish
        from .report import model_facts, tell

        image, store = self.image, str(self.store)
        labels = create_labels(
            store,
            self.label,
            shape=found.shape,
            axes="YX",
            dtype=found.dtype,
            scale=image.scale,
            units=None if image.unit is None else (image.unit, image.unit),
            source=image.source if Path(image.source).exists() else None,
            overwrite=self.overwrite,
        )
        finish(found.write_labels(labels), show)
        more = _files(found, image.source)
        files = {kind: path for kind, path in self.files.items() if kind in more}
        with staging(next(iter(self.files.values())).parent) as place:
            for kind, path in files.items():
                more[kind](place / path.name)
            for path in files.values():
                (place / path.name).replace(path)
        written = {"labels": labels.path, **{kind: str(path) for kind, path in files.items()}}
        rows, cols = found.shape
        facts = {
            "objects": sum(not mask.empty for mask in found.masks),
            **_facts(found),
            "image": f"{image.source}, {rows} x {cols} pixels",
        }
        tell(
            self.report,
            {
                **facts,
                **model_facts(model),
                "time": f"{time.perf_counter() - began:.2f} s",
                **written,
            },
            lambda: {**facts, "files": written},
        )


def _files(found: Refined, source: str) -> dict[str, Callable[[Path], None]]:
    """How masks, review and classes are written, where they can be."""
    from ..formats import write_coco, write_sa1b, write_table
    from ..formats.rle import MAX_PIXELS

    files: dict[str, Callable[[Path], None]] = {
        "review": lambda path: write_table(path, found.review())
    }
    if found.shape[0] * found.shape[1] > MAX_PIXELS:
        warnings.warn("the image is too large for masks in JSON files", stacklevel=2)
        return files
    records = found.image_records(source)
    files["masks"] = lambda path: write_sa1b(path, records)
    if any(found.given.classes):
        files["coco"] = lambda path: write_coco(path, [records], categories=found.categories)
    return files
