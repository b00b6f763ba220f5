"""What a model learns from a project: its annotation, as it is when learning starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..datasets import rank
from ..errors import ParameterError, ResourceError
from ..formats import open_npz
from ..formats.atomic import replacing
from .images import ProjectImage

if TYPE_CHECKING:
    from .project import Project

ENOUGH = 4
"""Complete images from which some are held out."""
SIDE = 1024
"""Longest side of an image that is learned from as a whole; of larger ones, windows."""
_HELD_WINDOWS = 4
_DISC = 3.0  # radius of the pixels that a negative click vouches for
Part = Literal["train", "held_out"]


@dataclass(frozen=True, slots=True)
class Annotated:
    """An image that a model learns from, or is measured on.

    Parameters
    ----------
    key : str
        Of the image.
    part : {"train", "held_out"}
    complete : bool
        Whether every object is labelled.
    objects : tuple of int
        Ids of its objects.
    regions : int
        Number of complete regions.
    negatives : int
        Number of points marked as background.
    files : tuple of str
        Copies of its pixels and annotation, as long as learning lasts.
    """

    key: str
    part: Part
    complete: bool
    objects: tuple[int, ...] = ()
    regions: int = 0
    negatives: int = 0
    files: tuple[str, ...] = ()


def choose_parts(project: Project) -> tuple[list[tuple[ProjectImage, Part]], str]:
    """Choose which annotated images to learn from, and which to measure on.

    Images are held out once `ENOUGH` are complete: a share of them (the setting
    ``held_out_share``), chosen by a hash of their keys among those that no version has learned
    from. The choice is kept with the image. Skipped and flagged images are left out.

    Parameters
    ----------
    project : Project

    Returns
    -------
    images : list of (ProjectImage, {"train", "held_out"})
    note : str
        How many are held out, or when some will be.

    Raises
    ------
    ParameterError
        If nothing is annotated.
    """
    usable = [image for image in project.images if _annotated(image)]
    complete = [image for image in usable if image.state == "complete" and image.has_labels]
    learned = {
        entry["key"]
        for version in project.versions
        for entry in version.learned().get("images", ())
        if entry["part"] == "train"
    }
    held = {image.key for image in complete if image.held_out}
    share = float(project.settings["held_out_share"])
    wanted = max(round(share * len(complete)), 1) if share and len(complete) >= ENOUGH else 0
    if wanted > len(held):
        free = [i for i in complete if i.held_out is None and i.key not in learned]
        for image in sorted(free, key=lambda image: rank(image.key)):
            if len(held) >= wanted:
                break
            if _hold_out(image):
                held.add(image.key)
    parts: list[tuple[ProjectImage, Part]] = [
        (image, "held_out" if image.key in held else "train")
        for image in usable
        if image.key in held or not image.held_out
    ]
    if not any(part == "train" for _, part in parts):
        raise ParameterError(
            f"there is nothing to learn from in {project.name}: label some objects first"
        )
    return parts, _note(len(held), len(complete), share)


def _annotated(image: ProjectImage) -> bool:
    status = image.status
    if status.state in ("skipped", "flagged"):
        return False
    return image.has_labels or bool(status.complete_regions or status.negatives)


def _hold_out(image: ProjectImage) -> bool:
    try:
        with image.lock() as editing:
            editing.write(held_out=True)
    except ResourceError:  # somebody works on it; another image will do
        return False
    return True


def _note(held: int, complete: int, share: float) -> str:
    if held:
        return f"{held} of {complete} complete images {'is' if held == 1 else 'are'} held out"
    if not share:
        return "no image is held out, as the project is set"
    if complete < ENOUGH:
        return f"no image is held out until {ENOUGH} are complete; {complete} are"
    return "no image is held out: every complete image has been learned from"


def copy_annotation(
    image: ProjectImage, part: Part, folder: Path, network: Any = None
) -> Annotated:
    """Copy an image's pixels and annotation, so that both may change while a model learns.

    A person has looked at complete regions and at negative clicks: where no object lies, these are
    background. So is, until the model finds other objects there, a suggestion that was rejected.

    Parameters
    ----------
    image : ProjectImage
    part : {"train", "held_out"}
        Determines the subfolder.
    folder : Path
        Of the copies.
    network : Sam, optional
        Where the image is not labelled completely, this network's dense head says where unlabelled
        objects may lie.
    """
    labels = image.labels()
    ids, numbered = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    labels = numbered[:-1].reshape(labels.shape).astype(np.int32)
    known = Known(image, labels, network)
    windows = list(windows_of(known.relevant))
    if part == "held_out":
        windows = windows[:: -(-len(windows) // _HELD_WINDOWS)]
    place = folder / part
    place.mkdir(parents=True, exist_ok=True)
    files = []
    for number, window in enumerate(windows):
        arrays: dict[str, Any] = {
            "image": known.shown.read(window),
            "labels": labels[window],
        }
        if not known.complete:
            arrays["seen"] = known.levels(window, arrays["image"])
        name = image.key if len(windows) == 1 else f"{image.key}-{number}"
        with replacing(place / f"{name}.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        files.append(f"{part}/{name}.npz")
    return Annotated(
        image.key,
        part,
        known.complete,
        tuple(ids[1:].tolist()),
        len(image.complete_regions),
        len(image.negatives()),
        tuple(files),
    )


class Known:
    """What is known about the pixels of an annotated image.

    Parameters
    ----------
    image : ProjectImage
    labels : int32 array (rows, columns)
        Its labels, perhaps with other numbers.
    network : Sam, optional
        As for `copy_annotation`.
    """

    def __init__(self, image: ProjectImage, labels: NDArray[np.int32], network: Any = None) -> None:
        self.shown = _Shown(image)
        self._labels, self._network = labels, network
        seen = image.seen()
        self.complete = bool(seen.all())
        for row, col in image.negatives():
            _mark_background(seen, row, col, labels)
        suggestions = image.suggestions()
        self._seen, self._undecided = seen, suggestions.painted() > 0
        rejected = suggestions.painted(status="rejected") > 0
        self._rejected = rejected & ~self._undecided & (labels == 0) & ~seen

    @property
    def relevant(self) -> NDArray[np.bool_]:
        """Where something is known: (rows, columns)."""
        relevant: NDArray[np.bool_] = self._seen | self._rejected | (self._labels > 0)
        return relevant

    def levels(self, window: tuple[slice, slice], shown: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Levels of `training.seen` of the pixels in a window.

        Parameters
        ----------
        window : (slice, slice)
            Rows and columns.
        shown : uint8 array (rows, columns, 3)
            Its pixels as a network sees them.
        """
        from ..training.seen import REJECTED, seen_levels

        labels = self._labels[window]
        perhaps = self._undecided[window] | _perhaps_objects(shown, labels, self._network)
        levels = seen_levels(labels, self._seen[window], perhaps)
        levels[self._rejected[window]] = REJECTED
        return levels

    def all_levels(self) -> NDArray[np.uint8]:
        """Levels of all pixels: (rows, columns)."""
        found = np.zeros(self._labels.shape, np.uint8)
        for window in windows_of(self.relevant):
            found[window] = self.levels(window, self.shown.read(window))
        return found


def read_copies(folder: Path, images: Sequence[Annotated], part: Part) -> Iterator[tuple[Any, ...]]:
    """Read what `copy_annotation` wrote: (image, labels), or with the levels of `training.seen`."""
    for image in images:
        for name in image.files if image.part == part else ():
            with open_npz(folder / name) as held:
                yield tuple(held[key] for key in ("image", "labels", "seen") if key in held)


def windows_of(relevant: NDArray[np.bool_]) -> Iterator[tuple[slice, slice]]:
    """The whole of an image, or of a large one the windows that hold something relevant."""
    rows, cols = map(_spans, relevant.shape)
    for row in rows:
        for col in cols:
            if relevant[row, col].any():
                yield row, col


def _spans(length: int) -> list[slice]:
    """An axis in pieces of `SIDE`; the last one ends with the axis and overlaps that before."""
    last = max(length - SIDE, 0)
    starts = [min(start, last) for start in range(0, length, SIDE)]
    return [slice(start, min(start + SIDE, length)) for start in starts]


class _Shown:
    """An image as inference shows it to a network, its contrast that of the whole image."""

    def __init__(self, image: ProjectImage) -> None:
        from ..engine.contrast import resolve_contrast_limits
        from ..engine.image import open_image

        data = image.open()
        levels = data.levels or data.array
        self.source = open_image(levels, channel_axis=data.channel_axis, channels=image.channels)
        self.limits = resolve_contrast_limits(self.source)

    def read(self, window: tuple[slice, slice]) -> NDArray[np.uint8]:
        """(rows, columns, 3), which are shown as they are."""
        from ..engine.contrast import stretch

        shown = stretch(self.source.read(0, *window), self.limits)
        shown = shown[..., None] if shown.ndim == 2 else shown
        rounded: NDArray[np.uint8] = np.round(shown).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(rounded, (*rounded.shape[:2], 3)))


def _mark_background(
    seen: NDArray[np.bool_], row: float, col: float, labels: NDArray[np.int32]
) -> None:
    """Mark the disc around a negative click as seen, where no object lies; changes `seen`."""
    top, left = (max(round(x - _DISC), 0) for x in (row, col))
    bottom, right = (round(x + _DISC) + 1 for x in (row, col))
    rows, cols = np.ogrid[top : min(bottom, seen.shape[0]), left : min(right, seen.shape[1])]
    disc = (rows - row) ** 2 + (cols - col) ** 2 <= _DISC**2
    part = (slice(top, top + disc.shape[0]), slice(left, left + disc.shape[1]))
    seen[part] |= disc & (labels[part] == 0)


def _perhaps_objects(
    shown: NDArray[np.uint8], labels: NDArray[np.int32], network: Any
) -> NDArray[np.bool_]:
    """Where a network's dense head sees objects; without one, that may be everywhere."""
    from ..training.data import labelled_image
    from ..training.geometry import has_dense_head
    from ..training.validation import cell_index, dense_maps

    if network is None or not has_dense_head(network):
        return np.ones(labels.shape, bool)
    maps, _ = dense_maps(network.image_encoder, labelled_image("", "", shown, labels))
    found: NDArray[np.bool_] = maps[0] > 0
    return found[cell_index(labels.shape, found.shape)]
