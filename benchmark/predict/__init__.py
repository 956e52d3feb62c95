"""A finished run on a video of your own. Its defaults are here, where they are quick to import."""

WINDOW_S = 3.0
"""Seconds of a video that a model judges at a time."""
STEP_S = 1.5
"""Seconds from the start of one window to the start of the next."""
