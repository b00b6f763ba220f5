"""Files in and out: images, labels, run-length masks, records, tables and overlays.

Stands alone: NumPy, scikit-image and the file libraries only.
"""

from __future__ import annotations

from ._archives import open_npz
from .detection import Detection
from .detection_files import read_detections
from .images import ImageData, read_image
from .labels import open_label_array, read_labels, write_labels
from .ome_zarr import (
    LabelsGroup,
    PlateImage,
    create_labels,
    is_url,
    label_names,
    open_labels,
    plate_images,
)
from .overlay import overlay, save_overlay, to_rgb
from .record_reading import read_coco, read_records, read_sa1b
from .records import ImageRecords, MaskRecord, write_coco, write_sa1b
from .rle import RLE, encode, encode_labels
from .tables import read_table, write_table

__all__ = [
    "RLE",
    "Detection",
    "ImageData",
    "ImageRecords",
    "LabelsGroup",
    "MaskRecord",
    "PlateImage",
    "create_labels",
    "encode",
    "encode_labels",
    "is_url",
    "label_names",
    "open_label_array",
    "open_labels",
    "overlay",
    "open_npz",
    "plate_images",
    "read_coco",
    "read_detections",
    "read_image",
    "read_labels",
    "read_records",
    "read_sa1b",
    "read_table",
    "save_overlay",
    "to_rgb",
    "write_coco",
    "write_labels",
    "write_sa1b",
    "write_table",
]
