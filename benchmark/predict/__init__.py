"""A finished run on a video of your own."""
