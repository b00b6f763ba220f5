"""Long jobs over what a viewer shows, and the layers of their results; no Qt."""
