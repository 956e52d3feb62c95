"""A local page: drop a video or use the camera, and see what the embedded model says of it."""
