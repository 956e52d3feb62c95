"""The model card that every run writes: what a model is, saw and scores, and what it is not for.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019), as Markdown.
"""

from __future__ import annotations

from benchmark.cells import NOT_THERE, interval, p_value, percent
from benchmark.record import RunRecord, SplitScores

PARTS = {
    "val_known": "validation, known activities",
    "val_new": "validation, new activities",
    "test_known": "test, known activities",
    "test_new": "test, new activities",
    "test": "test, mean of both",
}


def model_card(record: RunRecord, *, synthetic: bool) -> str:
    """The card of a finished run, as Markdown.

    Args:
        synthetic: all clips are of the rendered sample.
    """
    data = record.data
    fold = f", fold {data.fold} of {data.folds} ({data.protocol})" if data.fold else ""
    changes = ", ".join(f"`{name}={value}`" for name, value in record.changes.items()) or "none"
    trained = f"{record.trained_parameters:,} of {record.parameters:,} parameters"
    facts = {
        "Model": f"`{record.model}`, preset `{record.preset}`, seed {record.seed}",
        "Other settings": changes,
        "Reads": ", ".join(record.modalities) or "nothing of the video",
        "Started from": record.start or "random weights",
        "Trained on": f"{record.train_clips} clips of {data.name}{fold}"
        f"{', a subset' if data.subset else ''} (clips `{data.fingerprint[:16]}`), {trained}",
        "Cost of one view": cost_of_a_view(record),
        "Made on": f"{record.machine.device}, {record.machine.processes} process(es), "
        f"PyTorch {record.machine.torch}",
    }
    lines = [f"# {record.run}", ""]
    if synthetic:
        lines += ["**All clips are synthetic**: the scores say that the software works.", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in facts.items()), ""]
    lines += [
        "## Scores",
        "",
        "Mean average precision over 20 muscle regions, in percent. Chance is what the same scores "
        "get when the label sets are dealt anew to the activities; only a small p says that the "
        "model knows something (docs/scores.md).",
        "",
        "| | mAP | 95% interval | chance | p | clips | activities |",
        "|---|---|---|---|---|---|---|",
        *(_row(record, part, name) for part, name in PARTS.items()),
        "",
        "## What it is for, and what not",
        "",
        "- It says which of 20 muscle regions a filmed exercise is thought to activate. It "
        "measures nothing: labels belong to the activity, from public tables and written rules, "
        "not from EMG.",
        "- **Not a medical device.** Not for diagnosis, treatment, or to judge a person.",
        "- It has seen one person at a time, doing exercises. Other scenes give numbers, too, that "
        "mean nothing.",
        "- The weights carry no licence of their own. They follow from the videos and from the "
        "weights above: look at both before you pass them on.",
        "",
    ]
    return "\n".join(lines)


def cost_of_a_view(record: RunRecord) -> str:
    """Multiply-adds and milliseconds of one view, each as far as it was measured."""
    adds, latency = record.cost.multiply_adds_per_view, record.cost.latency_ms
    work = NOT_THERE if adds is None else f"{adds / 1e9:.3g} x 10^9 multiply-adds"
    time = NOT_THERE if latency is None else f"{latency:.3g} ms alone in a batch"
    return f"{work}, {time}"


def _row(record: RunRecord, part: str, name: str) -> str:
    scores = record.scores.of(part)
    chance = scores.chance
    counts = ("", "")
    if isinstance(scores, SplitScores):
        counts = (str(scores.clips), str(scores.activities))
    cells = (
        name,
        percent(scores.map),
        interval(scores.map_interval),
        NOT_THERE if chance is None else percent(chance.mean),
        p_value(None if chance is None else chance.p),
        *counts,
    )
    return f"| {' | '.join(cells)} |"
