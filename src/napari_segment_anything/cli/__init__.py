"""`napari-sam`: the package's functions as shell commands, one file per verb."""
