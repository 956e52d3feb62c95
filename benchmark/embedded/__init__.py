"""The model in the box: it knows exercises from skeletons, trained on synthetic motion alone.

``model.EmbeddedModel`` says what a skeleton does. ``python -m benchmark.embedded.train`` makes the
weights, ``python -m benchmark.embedded.evaluate CLIPS`` says how good they are. See ``card.md``.
"""
