"""Classical baselines without a model, which every model should clearly exceed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import sobel, threshold_otsu
from skimage.segmentation import flood, watershed

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
    grey = _smooth_grey(image)
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


WAND_LEVELS = 16
LARGEST_PART = 0.5


def magic_wand(image: NDArray[np.generic], point: tuple[int, int]) -> NDArray[np.bool_]:
    """Grow a region of similar brightness around a point, as image editors do.

    Of several tolerances, the one with the steepest edges along the region's outline is taken.

    Parameters
    ----------
    image : array (rows, columns) or (rows, columns, channels)
        Any number type; channels are averaged.
    point : (int, int)
        Row and column.

    Returns
    -------
    bool array (rows, columns)
    """
    grey = _smooth_grey(image)
    slope = sobel(grey)
    spread = float(np.ptp(grey))
    best, steepest = np.zeros(grey.shape, bool), -1.0
    best[point] = True
    for level in range(1, WAND_LEVELS + 1):
        region = flood(grey, point, tolerance=0.5 * spread * level / WAND_LEVELS)
        region = ndimage.binary_fill_holes(region)
        area = np.count_nonzero(region)
        if area < MIN_AREA:
            continue
        if area > LARGEST_PART * region.size:
            break
        outline = region & ~ndimage.binary_erosion(region)
        if (steep := float(slope[outline].mean())) > steepest:
            best, steepest = region, steep
    return best


def _smooth_grey(image: NDArray[np.generic]) -> NDArray[np.float32]:
    grey = np.nan_to_num(np.asarray(image, np.float32))
    if grey.ndim == 3:
        grey = grey.mean(-1)
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(grey, IMAGE_SMOOTHING)
    return smooth
