"""2D pose estimation: one small interface, several backends, all answering in COCO-17."""
