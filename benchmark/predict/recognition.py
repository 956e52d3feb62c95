"""What the embedded model says of a video, in words: the exercise, the regions, how sure it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.embedded.model import (
    ACTIVE_FROM,
    ENOUGH_PERSON_SHARE,
    KNOWN_FROM,
    EmbeddedModel,
    Recognition,
)
from benchmark.embedded.network import RATE_HZ, WINDOW_S
from benchmark.predict.summary import NOTE, is_undecided, rounded
from musclemap_data.catalog import GRADE_NAMES, GRADES, load_activities, load_muscles
from musclemap_data.extract.person import LONG_FPS, LONG_S

RECOGNITION_VERSION = 1
CANDIDATES = 5
SHORTEST_PART_S = 3.0
"""A part of a video in which another exercise is ahead for less is not named."""
UNKNOWN = "I do not know this exercise"
TRAINED_ON = (
    "The model was trained on synthetic motion only: no real person was in its training data, and "
    "its regions come from a table of what each exercise works."
)


def describe_recognition(
    model: EmbeddedModel,
    said: Recognition,
    video: Mapping[str, Any],
    *,
    fps: float,
    failed: Iterable[str] = (),
    plain: bool = False,
) -> dict[str, Any]:
    """What the model says, ready for JSON: exercise, candidates, regions, and what is unsure.

    Args:
        model: that said it.
        said: window by window.
        video: its facts, passed on as they are.
        fps: of the skeleton.
        failed: parts of the video that could not be read.
        plain: call the regions as in a gym.
    """
    best = np.argsort(-said.overall, kind="stable")[:CANDIDATES]
    parts = _parts(said)
    if len(parts) <= 1:
        known = [said.activities[best[0]]] if said.overall[best[0]] >= KNOWN_FROM else []
    else:
        known = list(dict.fromkeys(part["slug"] for part in parts if part["known"]))
    prediction: dict[str, Any] = {
        "version": RECOGNITION_VERSION,
        "video": dict(video),
        "model": {"name": "embedded", "activities": len(model.activities), **_facts(model)},
        "exercises": known,
        "candidates": [
            {**_named(said.activities[a]), "probability": rounded(said.overall[a])} for a in best
        ],
        "known_from": KNOWN_FROM,
        "parts": parts,
        "threshold": ACTIVE_FROM,
        "windows": _windows(said),
        "failed_windows": list(failed),
        "regions": _regions(said, plain),
    }
    prediction["unsure"] = [
        *prediction["video"].get("skeleton_doubts", ()),
        *_doubts(prediction, said, fps),
    ]
    prediction["note"] = f"{TRAINED_ON} {NOTE}"
    return prediction


def _facts(model: EmbeddedModel) -> dict[str, str]:
    return {name: model.facts[name] for name in ("trained_on",) if name in model.facts}


def _named(slug: str) -> dict[str, str]:
    return {"slug": slug, "name": load_activities()[slug].name}


def _windows(said: Recognition) -> list[dict[str, Any]]:
    muscles, regions = load_muscles(), said.regions()
    ahead = said.probabilities.argmax(axis=1)
    return [
        {
            "start_s": rounded(start),
            "end_s": rounded(end),
            "person_share": rounded(share),
            "counted": bool(counts),
            "activity": said.activities[activity],
            "activity_probability": rounded(row[activity]),
            "probabilities": {m.slug: rounded(region[m.index]) for m in muscles},
        }
        for (start, end), share, counts, activity, row, region in zip(
            said.windows,
            said.present,
            said.counted,
            ahead,
            said.probabilities,
            regions,
            strict=True,
        )
    ]


def _parts(said: Recognition) -> list[dict[str, Any]]:
    """Runs of windows in which the same exercise is ahead, of the mean with both neighbours."""
    kept = np.flatnonzero(said.counted)
    padded = np.pad(said.probabilities[kept], ((1, 1), (0, 0)), mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    ahead = smooth.argmax(axis=1)
    edges = [0, *(np.flatnonzero(np.diff(ahead)) + 1).tolist(), len(ahead)]
    parts = []
    for start, end in pairwise(edges):
        activity = int(ahead[start])
        begin_s, end_s = _middles(said, int(kept[start]), int(kept[end - 1]))
        probability = float(smooth[start:end, activity].mean())
        if len(edges) > 2 and end_s - begin_s < SHORTEST_PART_S:
            continue
        parts.append(
            {
                "start_s": rounded(begin_s),
                "end_s": rounded(end_s),
                **_named(said.activities[activity]),
                "probability": rounded(probability),
                "known": probability >= KNOWN_FROM,
            }
        )
    return parts


def _middles(said: Recognition, first: int, last: int) -> tuple[float, float]:
    """From where to where windows speak: at the video's ends to the end, else to their middle."""
    begin = said.windows[first] if first else (said.windows[0][0],) * 2
    end = said.windows[last]
    end_s = end[1] if last == len(said.windows) - 1 else sum(end) / 2
    return sum(begin) / 2, end_s


def _regions(said: Recognition, plain: bool) -> dict[str, dict[str, Any]]:
    counted, regions = said.counted, said.regions()
    mean, highest = regions[counted].mean(axis=0), regions[counted].max(axis=0)
    grades = said.grades()[counted].mean(axis=0)  # [20, 4]
    expected = grades @ np.array(GRADES)
    starts = np.array([start for start, _ in said.windows])[counted]
    from_s = starts[regions[counted].argmax(axis=0)]
    result = {}
    for muscle in load_muscles():
        i = muscle.index
        at_times = highest[i] >= ACTIVE_FROM
        active = "yes" if mean[i] >= ACTIVE_FROM else "at times" if at_times else "no"
        result[muscle.slug] = {
            "name": muscle.called(plain),
            "mean": rounded(mean[i]),
            "highest": rounded(highest[i]),
            "highest_from_s": rounded(from_s[i]),
            "share_of_windows": rounded((regions[counted][:, i] >= ACTIVE_FROM).mean()),
            "active": active,
            "undecided": is_undecided(float(mean[i]), ACTIVE_FROM),
            "expected_grade": rounded(expected[i]),
            "grade": _grade(grades[i], active != "no"),
            "grades": {
                GRADE_NAMES[grade]: rounded(share)
                for grade, share in zip(GRADES, grades[i], strict=True)
            },
        }
    return result


def _grade(shares: npt.NDArray[np.float64], active: bool) -> str:
    """The likeliest grade; of a region that is called active, the likeliest above "none"."""
    return GRADE_NAMES[GRADES[1 + int(shares[1:].argmax())]] if active else GRADE_NAMES[GRADES[0]]


def _doubts(prediction: Mapping[str, Any], said: Recognition, fps: float) -> list[str]:
    """What a reader should know before believing it, one sentence each."""
    doubts = []
    candidates = prediction["candidates"]
    if not prediction["exercises"]:
        doubts.append(
            f"No exercise reaches {KNOWN_FROM:.0%}, and below that it is right too rarely. The "
            "regions are those that the nearest exercises have in common."
        )
    elif (
        len(prediction["exercises"]) == 1
        and candidates[1]["probability"] > candidates[0]["probability"] / 2
    ):
        doubts.append(f"It could also be {candidates[1]['name']}.")
    if prediction["video"].get("several_people"):
        doubts.append(
            "More than one person is in view. Only one of them is followed; film one person alone."
        )
    few = said.present < ENOUGH_PERSON_SHARE
    if few.any():
        doubts.append(
            f"{few.sum()} of {len(few)} windows show a person in fewer than "
            f"{ENOUGH_PERSON_SHARE:.0%} of their frames"
            + (" and do not count." if not few.all() else "; all count, and none can be trusted.")
        )
    if prediction["failed_windows"]:
        doubts.append(
            "Could not be read and are left out: " + ", ".join(prediction["failed_windows"]) + "."
        )
    seconds = said.windows[-1][1] - said.windows[0][0]
    if seconds < WINDOW_S - 0.5:
        doubts.append(
            f"The video has {seconds:.1f} s; the model looks at {WINDOW_S:.0f} s at a time, about "
            "one repetition. Film two or more."
        )
    if fps < RATE_HZ - 0.5:
        doubts.append(
            f"The video has only {fps:.0f} frames/s; the model looks at {RATE_HZ:.0f}, and fast "
            "motion is lost."
        )
    video_fps, video_s = (prediction["video"].get(name, 0.0) for name in ("fps", "seconds"))
    if video_s > LONG_S and video_fps > LONG_FPS + 0.5:
        doubts.append(
            f"The video is {video_s / 60:.0f} min long: {fps:.0f} of its {video_fps:.0f} frames/s "
            "were looked at, enough for all but very fast motion."
        )
    near = [region["name"] for region in prediction["regions"].values() if region["undecided"]]
    if near:
        doubts.append(f"So near to the threshold that it could be either: {', '.join(near)}.")
    doubts.append(
        f"It knows {prediction['model']['activities']} exercises and takes any other motion for "
        "the one that looks most alike."
    )
    return doubts


def headline(prediction: Mapping[str, Any]) -> str:
    """What was recognised, in a few words."""
    first = prediction["candidates"][0]
    name, probability = first["name"], first["probability"]
    exercises = [load_activities()[slug].name for slug in prediction["exercises"]]
    if not exercises:
        return f"{UNKNOWN} (nearest: {name}, {probability:.0%})"
    if len(exercises) > 1:
        return f"{len(exercises)} exercises: {', '.join(exercises)}"
    return f"{name} ({probability:.0%})" if exercises == [name] else exercises[0]


def works(prediction: Mapping[str, Any], grade: str) -> list[str]:
    """Names of the active regions of a grade, those that work most first."""
    regions = [each for each in _ordered(prediction) if each["active"] == "yes"]
    return [region["name"] for region in regions if region["grade"] == grade]


def _ordered(prediction: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The regions, those that work most first: a stabiliser is often the more certain one."""
    return sorted(prediction["regions"].values(), key=lambda each: -each["expected_grade"])


def format_recognition(prediction: Mapping[str, Any]) -> str:
    """The summary for a terminal: what was recognised, how sure that is, the caution."""
    video = prediction["video"]
    lines = [f"{video['file']} ({video['seconds']:.1f} s): {headline(prediction)}"]
    for grade in reversed(GRADES[1:]):
        if names := works(prediction, GRADE_NAMES[grade]):
            lines.append(f"  {GRADE_NAMES[grade]}: {', '.join(names)}")
    parts = prediction["parts"]
    if len(parts) > 1:
        lines.append("")
        lines += [
            f"  {part['start_s']:6.1f} to {part['end_s']:6.1f} s  "
            + (part["name"] if part["known"] else f"unknown (nearest: {part['name']})")
            + f" ({part['probability']:.0%})"
            for part in parts
        ]
    lines += ["", f"{'muscle region':<20}{'mean':>6}{'highest':>9}  {'active':<9}grade"]
    for region in _ordered(prediction):
        at = f" from {region['highest_from_s']:.1f} s" if region["active"] == "at times" else ""
        mark = ", undecided" if region["undecided"] else ""
        grade = region["grade"] if region["active"] != "no" else ""
        lines.append(
            f"{region['name']:<20}{region['mean']:>6.0%}{region['highest']:>9.0%}  "
            f"{region['active']:<9}{grade}{at}{mark}".rstrip()
        )
    others = [f"{c['name']} {c['probability']:.0%}" for c in prediction["candidates"]]
    lines += ["", "How sure is this?", f"- Candidates: {', '.join(others)}."]
    lines += [f"- {doubt}" for doubt in prediction["unsure"]]
    return "\n".join([*lines, "", prediction["note"]])
