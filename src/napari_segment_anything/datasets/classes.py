"""The class of each labelled object, and how common a class is."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import FormatError, ParameterError
from ..reading import read_bytes, require_file
from .coco import bare, coco_images

FREQUENCIES = ("rare", "common", "frequent")
_COLUMNS = ("image", "label", "class")


@dataclass(frozen=True, slots=True)
class ObjectClasses:
    """Classes of the objects of a data set.

    Parameters
    ----------
    images : mapping of str to mapping of int to str
        For each image, by its bare name (`coco.bare`), the class of each label.
    rare, common : int
        A class is rare if at most `rare` images have it, common up to `common` images, and
        frequent in more; LVIS (Gupta et al. 2019) has 10 and 100.
    counts : dict of str to int
        Number of images that have each class.
    """

    images: Mapping[str, Mapping[int, str]]
    rare: int = 10
    common: int = 100
    counts: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.rare < self.common:
            raise ParameterError(
                f"a rare class is in fewer images than a common one: give two numbers such as 10 "
                f"and 100, not {self.rare} and {self.common}"
            )
        counts: dict[str, int] = {}
        for classes in self.images.values():
            for name in set(classes.values()) - {""}:
                counts[name] = counts.get(name, 0) + 1
        object.__setattr__(self, "counts", counts)

    def to_dict(self) -> dict[str, object]:
        """Plain values that say which classes count as what."""
        return {"rare": self.rare, "common": self.common, "counts": dict(self.counts)}

    def of(self, file: str) -> Mapping[int, str]:
        """Classes of the objects of an image, by label; `file` is its name, perhaps "set/name"."""
        return self.images.get(bare(file), {})

    def frequency(self, name: str) -> str:
        """How common a class is, one of `FREQUENCIES`; "" for objects without a class."""
        count = self.counts.get(name, 0)
        if not count:
            return ""
        return FREQUENCIES[(count > self.rare) + (count > self.common)]


def read_classes(path: str | Path, rare: int = 10, common: int = 100) -> ObjectClasses:
    """Read the classes of objects.

    Parameters
    ----------
    path : path
        A CSV with columns ``image`` (file name, with or without suffix), ``label`` and ``class``,
        such as the objects.csv of an exported project; or a COCO data set, whose annotations' ids
        are the labels.
    rare, common : int
        As for `ObjectClasses`.

    Raises
    ------
    FormatError
        If the file cannot be read, or no object has a class.
    ParameterError
        If the numbers are wrong.
    """
    path = Path(path).expanduser()
    images: dict[str, dict[int, str]] = {}
    if path.suffix.lower() == ".json":
        for image, record in (coco_images(require_file(path, "classes of objects")) or {}).items():
            images[image] = {mask.id: mask.category for mask in record.records}
    else:
        for number, row in enumerate(_rows(path), start=2):
            try:
                label = int(row["label"])
            except ValueError:
                raise FormatError(
                    f"{path}, row {number}: a label is an integer, not {row['label']!r}"
                ) from None
            images.setdefault(bare(row["image"]), {})[label] = row["class"]
    found = ObjectClasses(images, rare, common)
    if not found.counts:
        raise FormatError(f"{path}: no object has a class")
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    text = read_bytes(path, what="classes of objects").decode("utf-8-sig", "replace")
    try:
        rows = list(csv.DictReader(text.splitlines()))
    except csv.Error as error:
        raise FormatError(f"{path} cannot be read as CSV: {error}") from error
    missing = [name for name in _COLUMNS if not rows or rows[0].get(name) is None]
    if missing:
        raise FormatError(f"{path} needs a header with the columns {', '.join(_COLUMNS)}")
    short = next((i for i, row in enumerate(rows, 2) if None in (row[n] for n in _COLUMNS)), None)
    if short:
        raise FormatError(f"{path}, row {short}: too few fields")
    return rows
