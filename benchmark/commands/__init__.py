"""The verbs of the benchmark."""
