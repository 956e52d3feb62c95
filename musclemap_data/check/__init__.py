"""What is in a finished data set, and whether it is right."""
