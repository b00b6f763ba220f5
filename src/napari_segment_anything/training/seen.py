"""What a person has looked at, in images that are not labelled completely.

Every pixel has one of three levels, and losses apply accordingly:

======== ====================================================================== ========== =======
level    meaning                                                                dense head decoder
======== ====================================================================== ========== =======
SEEN     the labels are right: an object, or background                         yes        yes
ASSUMED  nobody has looked, but the labels are likely: see `assumed`            yes        yes
REJECTED a mask that a person has rejected: background, or objects otherwise    yes        yes
BESIDE   next to a labelled object and no part of it, perhaps of another object no         yes
UNSEEN   nobody has looked                                                      no         no
======== ====================================================================== ========== =======

In the decoder, "yes" means that the pixel is no part of another object; only objects that a person
has confirmed are prompted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

UNSEEN, BESIDE, SEEN, ASSUMED, REJECTED = 0, 1, 2, 3, 4
RING = 0.35  # of the square root of an object's area
_LEAST, _MOST = 3.0, 24.0  # pixels


def seen_levels(
    labels: NDArray[np.integer],
    seen: NDArray[np.bool_] | None = None,
    undecided: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Levels of an image's pixels.

    Whoever confirms an object has seen to its outline, so that a ring around it is no part of it.
    Whether the ring is background is another question: another object, not labelled yet, may lie
    in it. Only with `undecided` are the ring's other pixels assumed to be background.

    Parameters
    ----------
    labels : ndarray
        (h, w) integer, 0 where there is no confirmed object.
    seen : ndarray, optional
        (h, w) bool, where a person has looked at everything; nowhere unless given.
    undecided : ndarray, optional
        (h, w) bool, where an object may lie that nobody has confirmed or rejected.

    Returns
    -------
    ndarray
        (h, w) uint8.
    """
    levels = np.zeros(labels.shape, np.uint8)
    inside = labels > 0
    if inside.any():
        reach = np.clip(RING * np.sqrt(np.bincount(labels.ravel())), _LEAST, _MOST)
        distance, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
        ring = distance <= reach[labels[tuple(nearest)]]
        levels[ring] = BESIDE
        if undecided is not None:
            levels[ring & ~undecided] = ASSUMED
    if seen is not None:
        levels[seen] = SEEN
    levels[inside] = SEEN
    return levels
