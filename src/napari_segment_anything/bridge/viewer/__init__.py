"""What the user does with the mouse and the layers, as plain arrays and back; no Qt."""
