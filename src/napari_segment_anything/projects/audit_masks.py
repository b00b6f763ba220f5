"""Which masks of an image are automatic, and which a person has checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..formats.rle import RLE, encode_labels
from .audit_sample import AuditedImage
from .sampling import audited_image

if TYPE_CHECKING:
    from .images import ProjectImage


@dataclass(frozen=True, slots=True, eq=False)
class ImageMasks:
    """The masks of an image, apart by whether a person has checked them.

    Parameters
    ----------
    automatic : dict of int to RLE
        By label; of open suggestions by minus their number.
    scores : dict of int to float
        Of automatic masks, where they have one.
    trusted : dict of int to RLE
        Made, corrected or confirmed by a person.
    models : list of (model, version, fingerprint)
        Of each automatic mask.
    classes : dict of int to str
        Names of classes of automatic and trusted masks, where they have one.
    """

    automatic: dict[int, RLE] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    trusted: dict[int, RLE] = field(default_factory=dict)
    models: list[tuple[str, str, str]] = field(default_factory=list)
    classes: dict[int, str] = field(default_factory=dict)

    def described(self, image: ProjectImage) -> AuditedImage:
        """The image as an audit knows it, with its pixel size."""
        data = image.open()
        places = [data.axes.index(axis) for axis in "YX"]
        rows, cols = (float(data.scale[place]) for place in places)
        unit, other = (data.units[place] for place in places)
        known = unit is not None and unit == other
        return audited_image(
            image.key, image.shape, self.automatic, self.trusted, image.state == "complete",
            (rows, cols) if known else None, unit if known else None, self.classes,
        )  # fmt: skip


def image_masks(image: ProjectImage, threshold: float | None = None) -> ImageMasks | None:
    """Read which masks of an image are automatic; None if nothing was segmented in it yet.

    Automatic are labels of suggestions taken as they were, labels without an author, such as
    imported ones, and open suggestions of everything mode from a score on. In a complete
    image a person has checked all labels, and suggestions do not count.

    Parameters
    ----------
    image : ProjectImage
    threshold : float, optional
        Score from which on suggestions count; none of them does by default.
    """
    if not (image.has_labels or image.has_suggestions):  # nor need its pixels be there
        return None
    suggestions = image.suggestions()
    if not (image.has_labels or suggestions.settings or suggestions.items):
        return None
    entries = {entry.id: entry for entry in image.objects()}
    complete = image.state == "complete"
    found = ImageMasks()
    labels = encode_labels(image.labels()) if image.has_labels else {}
    for number, mask in labels.items():
        entry = entries.get(number)
        if entry is not None and entry.class_name:
            found.classes[number] = entry.class_name
        if complete or (entry is not None and entry.made_by in ("person", "corrected")):
            found.trusted[number] = mask
            continue
        found.automatic[number] = mask
        if entry is not None and entry.score is not None:
            found.scores[number] = entry.score
        found.models.append(
            ("", "", "") if entry is None else (entry.model, entry.version, entry.fingerprint)
        )
    if threshold is not None and not complete:
        for item in suggestions.shown(threshold, "everything"):
            found.automatic[-item.id] = item.mask
            found.scores[-item.id] = item.score
            found.models.append(("", item.version, item.fingerprint))
    return found


def masks_now(image: ProjectImage, threshold: float | None = None) -> ImageMasks:
    """The masks of an image of an audit, of which there may be none any more.

    Parameters
    ----------
    image, threshold
        As for `image_masks`.
    """
    return image_masks(image, threshold) or ImageMasks()
