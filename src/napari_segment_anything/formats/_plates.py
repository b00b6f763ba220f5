"""The images of a plate in an OME-Zarr store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FormatError
from . import _ngff, _stores


@dataclass(frozen=True, slots=True)
class PlateImage:
    """One image of a plate.

    Parameters
    ----------
    path : str
        Path or URL of the OME-Zarr image.
    row, column : str
        Names of the well's row and column, such as "B" and "03".
    field : str
        Name of the image in its well.
    well : str
        Row and column, "B/03".
    """

    path: str
    row: str
    column: str
    field: str
    well: str


def plate_images(source: str | Path) -> list[PlateImage]:
    """List the images of a plate, or of one well, in the order of its metadata.

    Parameters
    ----------
    source : str or Path
        Path or URL of the plate or well.

    Returns
    -------
    list of PlateImage
        Empty if it is neither.

    Raises
    ------
    FormatError
        If the metadata is damaged, names a place outside the plate, or a well that is missing.
    """
    location = _stores.locate(source)
    node = _stores.open_node(location)
    if node is None or not hasattr(node, "array_keys"):
        return []
    attributes = _ngff.ome_attributes(node)
    try:
        if "well" in attributes:
            row, column = _stores.split(location)
            name = f"{_stores.split(row)[1]}/{column}"
            return _fields(attributes["well"], location, name)
        if "plate" not in attributes:
            return []
        images = []
        for entry in attributes["plate"]["wells"]:
            place = _stores.inside(location, entry["path"], "the well")
            well = str(entry["path"]).strip("/")
            found = _stores.open_node(place)
            if found is None:
                raise FormatError(f"{location}: well {well} is named but missing.")
            images += _fields(_ngff.ome_attributes(found)["well"], place, well)
        return images
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{location} has damaged plate metadata: {error}") from error


def _fields(well: Any, location: str, name: str) -> list[PlateImage]:
    row, _, column = name.rpartition("/")
    images = []
    for entry in well["images"]:
        place = _stores.inside(location, entry["path"], "the image")
        images.append(PlateImage(place, row, column, str(entry["path"]).strip("/"), name))
    return images
