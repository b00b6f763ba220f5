"""A classical baseline without a model, which every model should clearly exceed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

# near the optimum for fluorescent nuclei; results depend little on them
IMAGE_SMOOTHING = 0.5
DISTANCE_SMOOTHING = 1.0
MIN_DISTANCE = 4
MIN_AREA = 20


def otsu_watershed(image: NDArray[np.generic]) -> NDArray[np.int32]:
    """Otsu's threshold, then a watershed on the distance to the background.

    The smaller of the two classes is the foreground, so that dark objects on a bright background
    are found as well.

    Parameters
    ----------
    image : array (rows, columns) or (rows, columns, channels)
        Any number type; channels are averaged.

    Returns
    -------
    int32 array (rows, columns)
        Labels, 0 is background.
    """
    grey = np.nan_to_num(np.asarray(image, np.float32))
    if grey.ndim == 3:
        grey = grey.mean(-1)
    grey = ndimage.gaussian_filter(grey, IMAGE_SMOOTHING)
    if np.ptp(grey) == 0:
        return np.zeros(grey.shape, np.int32)
    foreground = grey > threshold_otsu(grey)
    if foreground.mean() > 0.5:
        foreground = ~foreground
    parts, _ = ndimage.label(foreground)
    areas = np.bincount(parts.ravel())
    parts[(areas < MIN_AREA)[parts]] = 0
    distance = ndimage.distance_transform_edt(parts > 0)
    smooth = ndimage.gaussian_filter(distance, DISTANCE_SMOOTHING)
    peaks = peak_local_max(smooth, min_distance=MIN_DISTANCE, labels=parts, exclude_border=False)
    seeds = np.zeros(grey.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels: NDArray[np.int32] = watershed(-smooth, seeds, mask=parts > 0).astype(np.int32)
    return labels
