"""Results of `napari-sam refine`: labels, masks, tables, and what to review."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import MORE, ImageOutput, Result, check_folder, check_free

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine import Model
    from ..refining import Refined
    from .inputs import Input
    from .options import Reporting
    from .report import Show


class RefineOutput:
    """Where results are written; checked before the work starts.

    Parameters
    ----------
    output : Path or None
        A folder, or a store that ends in .zarr.
    label : str
        Name of the labels in a store.
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
        self, output: Path | None, label: str, overwrite: bool, report: Reporting, image: Input
    ) -> None:
        self.label, self.overwrite, self.report, self.image = label, overwrite, report, image
        self.store = output if output is not None and output.suffix.lower() == ".zarr" else None
        self.folder = None
        if self.store is None:
            self.folder = ImageOutput(output, overwrite, report)
            self.files = self.folder.files(image.name, *MORE)
            return
        check_folder(self.store.parent)
        name = self.store.name.removesuffix(self.store.suffix).removesuffix(".ome")
        kinds = {"masks": "masks.json", **MORE}
        self.files = {kind: self.store.parent / f"{name}_{end}" for kind, end in kinds.items()}
        check_free(self.files.values(), overwrite)

    def finish(
        self, found: Refined, model: Model, began: float, parameters: dict[str, Any], show: Show
    ) -> None:
        """Write everything and report.

        Parameters
        ----------
        found : Refined
        model : Model
        began : float
            Reading of `time.perf_counter` when the computation began.
        parameters : dict
            Of the computation.
        show : callable
            Takes progress.
        """
        kinds = [hint.kind for hint in found.hints]
        facts = {
            "prompted": len(found),
            **{kind: kinds.count(kind) for kind in ("empty", "merge", "split")},
        }
        if self.folder is None:
            self._write_store(found, model, facts, began, show)
            return
        more = _files(found, self.image.source)
        more.pop("masks", None)  # with the labels, the table and the overlay
        columns: dict[str, dict[int, Any]] = {}
        ids = found.ids.tolist()
        if "coco" in more:
            columns["class"] = dict(zip(ids, found.given.classes, strict=True))
        if any(score == score for score in found.given.scores):
            columns["score"] = dict(zip(ids, found.given.scores.tolist(), strict=True))
        columns["doubt"] = dict(zip(ids, found.doubt.tolist(), strict=True))
        result = Result(
            image=self.image,
            model=model,
            labels=found.to_labels(),
            records=found.image_records(self.image.source),
            seconds=time.perf_counter() - began,
            facts=facts,
            parameters=parameters,
            prompts=[{"box": box} for box in found.given.boxes.tolist()],
            columns=columns,
            more=more,
        )
        self.folder.finish(result, self.files)

    def _write_store(
        self,
        found: Refined,
        model: Model,
        facts: dict[str, Any],
        began: float,
        show: Show,
    ) -> None:
        """Write labels strip by strip, then the files beside the store."""
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
            **facts,
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
