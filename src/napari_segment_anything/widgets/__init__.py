"""What people touch in napari: the widgets, their background jobs, keys and files."""
