"""Labels in one COCO file for all images of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ..errors import FormatError
from ..formats import ImageRecords, read_records
from ..formats.images import PICTURE_SUFFIXES, TIFF_SUFFIXES

IMAGE_SUFFIXES = (*TIFF_SUFFIXES, *PICTURE_SUFFIXES, ".npy", ".npz", ".zarr")


def bare(file: str) -> str:
    """The name of an image's file without its folder, and without a suffix of an image."""
    path = Path(file)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return path.name
    return path.name.removesuffix(path.suffix).removesuffix(".ome")


def coco_images(path: Path) -> Mapping[str, ImageRecords] | None:
    """Objects of each image of a COCO data set, by the image's bare name.

    Returns
    -------
    mapping of str to ImageRecords, or None
        None for the JSON of a single image, as in SA-1B.

    Raises
    ------
    FormatError
        If the file is damaged, two images have the same name, or ids are not numbers from 1, each
        of one annotation.
    """
    held = path.stat()
    return _read(path, held.st_mtime_ns, held.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, modified: int, size: int) -> Mapping[str, ImageRecords] | None:
    found = read_records(path)
    if isinstance(found, ImageRecords):
        return None
    images = {bare(record.file_name): record for record in found}
    if len(images) < len(found):
        raise FormatError(f"{path}: two images have the same file name")
    for record in found:
        ids = {mask.id for mask in record.records}
        if len(ids) < len(record.records) or not all(0 < i < 2**31 for i in ids):
            raise FormatError(
                f"{path}, {record.file_name}: ids of annotations are whole numbers from 1, each of "
                "one annotation"
            )
    return images
