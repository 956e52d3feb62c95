"""What the scores of a video's windows say: windows, regions, and what is unsure, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.cells import p_value
from benchmark.predict.runs import TrainedRun
from benchmark.record import DEFAULT_THRESHOLD, SplitScores
from musclemap_data.catalog import load_muscles

PREDICTION_VERSION = 1
UNDECIDED_ODDS = 1.5
"""A region is called undecided where its odds are within this factor of the threshold's odds.

Odds, p / (1 - p), and not the difference, because a threshold may lie near 0 or 1: at a threshold
of 50% it means 40 to 60%, at 15% it means 11 to 21%.
"""
ENOUGH_PERSON_SHARE = 0.5
"""Windows in which fewer frames show a person do not count in the summary, if others do."""
SLOW_FPS = 20.0
NOTE = (
    "Not a medical device. A probability is a model's guess from pictures of how the body moves; "
    "no muscle was measured. The labels it learned from are derived from public exercise tables, "
    "not from EMG."
)
SYNTHETIC_NOTE = (
    "This model was trained on SYNTHETIC sample videos only. It shows that the tool works; what it "
    "says of a real person must not be believed."
)


def describe_prediction(
    run: TrainedRun,
    scores: npt.NDArray[np.float32],
    windows: Sequence[tuple[float, float]],
    person_shares: Sequence[float],
    video: Mapping[str, Any],
    *,
    fps: float,
    failed: Iterable[str] = (),
    differing: Sequence[str] = (),
    plain: bool = False,
) -> dict[str, Any]:
    """What the scores say, ready for JSON: windows, regions, and what is unsure in plain words.

    Args:
        scores: ``[windows, 20]``, from ``predict.score_windows``.
        windows: (start_s, end_s) of each.
        person_shares: of each, the share of frames with a person.
        video: its facts, passed on as they are; :func:`format_prediction` prints ``file``,
            ``seconds`` and ``person_share``.
        fps: of the windows' frames.
        failed: windows that could not be extracted.
        differing: from ``predict.made_differently``.
        plain: call the regions as in a gym.
    """
    counted = np.array(person_shares) >= ENOUGH_PERSON_SHARE
    if not counted.any():
        counted[:] = True
    threshold, record = run.threshold, run.record
    muscles = load_muscles()
    mean, highest = scores[counted].mean(axis=0), scores[counted].max(axis=0)
    starts = np.array([start for start, _ in windows])[counted]
    best = starts[scores[counted].argmax(axis=0)]
    regions = {}
    for muscle in muscles:
        i = muscle.index
        regions[muscle.slug] = {
            "name": muscle.called(plain),
            "mean": rounded(mean[i]),
            "highest": rounded(highest[i]),
            "highest_from_s": rounded(best[i]),
            "share_of_windows": rounded((scores[counted][:, i] >= threshold).mean()),
            "active": "yes"
            if mean[i] >= threshold
            else "at times" if highest[i] >= threshold else "no",
            "undecided": is_undecided(float(mean[i]), threshold),
            "training_clips": None if run.training_clips is None else int(run.training_clips[i]),
            "average_precision": {
                split: scores_of_split.per_region_ap[muscle.slug]
                for split, scores_of_split in record.scores.splits.items()
            },
        }  # fmt: skip
    prediction: dict[str, Any] = {
        "version": PREDICTION_VERSION,
        "video": dict(video),
        "run": {
            "folder": str(run.folder),
            "chosen": run.chosen,
            "model": record.model,
            "modalities": list(run.modalities),
            "data": record.data.name,
            "training_clips": record.train_clips,
            "synthetic": run.synthetic,
        },
        "threshold": rounded(threshold),
        "threshold_from": "validation"
        if record.scores.threshold is not None
        else "none: the run has no validation clips",
        "windows": [
            {
                "start_s": rounded(start),
                "end_s": rounded(end),
                "person_share": rounded(share),
                "counted": bool(counts),
                "probabilities": {muscle.slug: rounded(row[muscle.index]) for muscle in muscles},
            }
            for (start, end), share, counts, row in zip(
                windows, person_shares, counted, scores, strict=True
            )
        ],
        "failed_windows": list(failed),
        "regions": regions,
    }
    prediction["unsure"] = _doubts(run, prediction, fps=fps, differing=differing)
    prediction["note"] = f"{SYNTHETIC_NOTE} {NOTE}" if run.synthetic else NOTE
    return prediction


def is_undecided(probability: float, threshold: float) -> bool:
    """Whether a probability is so near to the threshold that it decides nothing."""
    odds, at_threshold = (p / max(1 - p, 1e-9) for p in (probability, threshold))
    return at_threshold / UNDECIDED_ODDS < odds < at_threshold * UNDECIDED_ODDS


def rounded(value: float) -> float:
    """A number for JSON, with four places."""
    return round(float(value), 4)


def _doubts(
    run: TrainedRun, prediction: Mapping[str, Any], *, fps: float, differing: Sequence[str]
) -> list[str]:
    """What a reader should know before believing the numbers, one sentence each."""
    windows, regions = prediction["windows"], prediction["regions"]
    doubts = []
    few = sum(window["person_share"] < ENOUGH_PERSON_SHARE for window in windows)
    if few == len(windows):
        doubts.append(
            f"No window shows a person in {ENOUGH_PERSON_SHARE:.0%} of its frames; all are "
            "counted, and none can be trusted."
        )
    elif few:
        doubts.append(
            f"{few} of {len(windows)} windows show a person in fewer than "
            f"{ENOUGH_PERSON_SHARE:.0%} of their frames and do not count."
        )
    if prediction["failed_windows"]:
        doubts.append(
            "Could not be read and are left out: " + ", ".join(prediction["failed_windows"]) + "."
        )
    doubts += prediction["video"].get("skeleton_doubts", ())
    if prediction["video"].get("several_people"):
        doubts.append("Several people are in view, and one is followed; film one person alone.")
    span_s = ((run.settings.frames - 1) * run.settings.rate + 1) / fps
    shortest = min(window["end_s"] - window["start_s"] for window in windows)
    if shortest < span_s - 0.5 / fps:
        doubts.append(
            f"The shortest window has {shortest:.1f} s, but the model looks at {span_s:.1f} s at a "
            "time: it sees that motion slowed down. A longer video or --window-s helps."
        )
    if fps < SLOW_FPS:
        doubts.append(
            f"The video has only {fps:.0f} frames/s: models usually learn from 25 to 30, and "
            "motion looks faster to them than it is."
        )
    if differing:
        doubts.append(
            f"{_listed(differing)} of this video was made with other settings or versions than for "
            "the clips the model learned from."
        )
    doubts += _doubts_of_regions(run, regions)
    doubts += _doubts_of_run(run, prediction)
    return doubts


def _doubts_of_regions(run: TrainedRun, regions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    doubts = []
    near = [region["name"] for region in regions.values() if region["undecided"]]
    if near:
        doubts.append(f"So near to the threshold that it could be either: {_listed(near)}.")
    never = [region["name"] for region in regions.values() if region["training_clips"] == 0]
    if never:
        doubts.append(
            f"Never active in a training clip, so the model cannot know: {_listed(never)}."
        )
    if run.training_clips is None:
        doubts.append(
            "The data set of this run is not beside it (or has changed), so it is not known which "
            "regions it has seen active."
        )
    return doubts


def _chance(scores: SplitScores) -> str:
    if scores.chance is None:
        return "no chance level is known"
    return f"chance: {scores.chance.mean:.0%}, p {p_value(scores.chance.p)}"


def _doubts_of_run(run: TrainedRun, prediction: Mapping[str, Any]) -> list[str]:
    doubts = []
    for kind in ("known", "new"):
        scores = run.record.scores.splits[f"test_{kind}"]
        if scores.map is not None and scores.calibration_error is not None:
            doubts.append(
                f"On {scores.clips} test clips of {kind} activities its mAP is {scores.map:.0%} "
                f"({_chance(scores)}), and its probabilities are off by "
                f"{scores.calibration_error:.0%} on average."
            )
    if not doubts:
        doubts.append("It was never tested: nobody knows how good it is.")
    doubts.append(f"It learned from {run.record.train_clips} clips.")
    if run.record.scores.threshold is None:
        doubts.append(
            f"It has no threshold from validation; {DEFAULT_THRESHOLD:.0%} was taken instead."
        )
    return doubts


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def format_prediction(prediction: Mapping[str, Any]) -> str:
    """The summary for a terminal: regions by probability, then what is unsure."""
    run, threshold = prediction["run"], prediction["threshold"]
    video, windows = prediction["video"], prediction["windows"]
    lines = [
        f"model {run['model']}, run {Path(run['folder']).name}: {run['chosen']}",
        f"{video['file']}: {video['seconds']:.1f} s, {len(windows)} "
        f"window{'s' if len(windows) > 1 else ''}, a person in {video['person_share']:.0%} of the "
        f"frames; active from {threshold:.0%} on",
        "",
        f"{'muscle region':<20}{'mean':>6}{'highest':>9}  {'active':<9}",
    ]
    for region in sorted(prediction["regions"].values(), key=lambda each: -each["mean"]):
        at = f" from {region['highest_from_s']:.1f} s" if region["active"] == "at times" else ""
        mark = "  undecided" if region["undecided"] else ""
        lines.append(
            f"{region['name']:<20}{region['mean']:>6.0%}{region['highest']:>9.0%}  "
            f"{region['active']}{at}{mark}"
        )
    lines += ["", "How sure is this?", *(f"- {doubt}" for doubt in prediction["unsure"])]
    return "\n".join([*lines, "", prediction["note"]])
