"""Parameters of projects: the data engine."""

from __future__ import annotations

from .parameter import Parameter

# fmt: off
PROJECT: dict[str, Parameter] = {
    "suggestion_score": Parameter(
        0.5, float, "Score from",
        "Show suggestions with at least this predicted IoU.",
        low=0, high=1,
    ),
    "nudge_seconds": Parameter(
        30.0, float, "Move on after",
        "Remind to move on after this time on one mask; 0 never does.",
        low=0, high=3600, unit="seconds",
    ),
    "pause_seconds": Parameter(
        60.0, float, "Pause after",
        "Time without any action that counts as a pause, and not as time on an image.",
        low=1, high=3600, unit="seconds",
    ),
    "held_out_share": Parameter(
        0.2, float, "Held-out share",
        "Share of the annotated images that are kept from learning, to measure with.",
        low=0, high=0.9,
    ),
}
AUDIT: dict[str, Parameter] = {
    "masks": Parameter(
        120, int, "Masks",
        "Masks drawn for a person to check.",
        low=2, high=100_000,
    ),
    "fields": Parameter(
        40, int, "Fields",
        "Fields drawn for a person to look for missed objects in.",
        low=2, high=100_000,
    ),
    "field_side": Parameter(
        None, int, "Field",
        "Side of a field.",
        low=8, high=65536, unit="pixels", otherwise="about ten masks in each",
    ),
    "seed": Parameter(
        0, int, "Seed",
        "The same seed draws the same masks and fields.",
        low=0, high=2**31,
    ),
}
LEARNING: dict[str, Parameter] = {
    "steps": Parameter(
        None, int, "Steps",
        "Training steps: more for more objects, up to what a few minutes on two cores allow.",
        low=1, high=100_000, otherwise="70, and one for each object, up to 300",
    ),
    "train": Parameter(
        None, str, "Train",
        "Which part of the model learns.",
        choices=("whole", "decoder", "lora"),
        otherwise="whole for models with a dense head, decoder for others",
    ),
    "threads": Parameter(
        None, int, "Threads",
        "Processor threads to use.",
        low=1, high=1024, otherwise="all",
    ),
}
# fmt: on
