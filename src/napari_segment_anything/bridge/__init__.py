"""napari's layers and our plain arrays; no Qt."""
