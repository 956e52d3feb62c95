"""Defaults of extraction. Light to import: the command line takes its defaults from here."""

WINDOW_S = 3.0
"""Seconds of a user's video that a model judges at a time."""
STEP_S = 1.5
"""Seconds from the start of one window to the start of the next."""
