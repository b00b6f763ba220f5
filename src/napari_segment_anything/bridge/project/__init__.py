"""A project's images in a viewer, one after the other. No Qt."""
