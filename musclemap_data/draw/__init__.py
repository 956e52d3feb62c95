"""Pictures: the body map, skeletons, a timeline, a video with both beside it."""
