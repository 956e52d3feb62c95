"""Experiments of more than one run: folds, an ablation, a teacher first, a stream dropped."""
