"""Segment Anything for scientific images: in napari, in scripts, on the command line."""
