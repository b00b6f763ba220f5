"""Files in and out: images, labels, run-length masks, records, tables and overlays.

Stands alone: NumPy, scikit-image and the file libraries only.
"""

from __future__ import annotations

from napari_segment_anything.formats.images import ImageData, read_image
from napari_segment_anything.formats.rle import RLE, encode, encode_labels, encode_many

__all__ = ["RLE", "ImageData", "encode", "encode_labels", "encode_many", "read_image"]
