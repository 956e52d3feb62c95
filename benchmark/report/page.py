"""The report of one finished run: one HTML file that needs nothing else, not even a network.

``report.html`` puts the sections of :data:`SECTIONS` one below the other, ``sections.html`` says
what they look like, and the functions here find what stands in them. A section whose material is
missing says so in its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from benchmark.card import cost_of_a_view
from benchmark.cells import NOT_THERE, p_value, percent
from benchmark.clips import Clip, read_clips
from benchmark.identity import read_identity
from benchmark.report import analysis, figures, plots
from benchmark.report.figures import Material
from benchmark.report.pictures import clip_strips, strip
from benchmark.report.templates import render, words
from benchmark.settings import Settings, SettingValue
from musclemap_data.catalog import is_synthetic, load_activities, load_muscles
from musclemap_data.draw.body_map import LABEL_FROM, body_map_svg
from musclemap_data.draw.colours import Picture
from musclemap_data.errors import UserError
from musclemap_data.files import write_text
from musclemap_data.labels import WEAK_BELOW, source_agreement, weak_regions
from musclemap_data.modalities import MODALITIES
from musclemap_data.shards import read_dataset_info

CLIPS_SHOWN = 3
"""Best clips, and as many worst."""

Found = dict[str, object]
"""What stands in a section, by the names that its macro in ``sections.html`` uses."""


def write_report(
    run_dir: Path,
    data_dir: Path,
    out: Path,
    *,
    region: str | None = None,
    plain: bool = False,
) -> Path:
    """Write the report of a finished run (atomically).

    Args:
        data_dir: the data set that the run was scored on; without it pictures are left out.
        out: the HTML file.
        region: the muscle region that Grad-CAM explains; if not given, one is chosen by a rule
            that stands in the report.
        plain: call the regions as in a gym.

    Returns:
        ``out``.

    Raises:
        UserError: the run is not complete or damaged, there is no such region, or ``out`` is not
            the name of an HTML file.
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out} ends in {out.suffix or 'nothing'}; the report is an .html file")
    page = format_report(figures.read_material(run_dir, data_dir, region, plain=plain))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    return out


def format_report(material: Material) -> str:
    """The whole page."""
    parts: list[tuple[str, str, Found, str]] = []
    for name, (heading, find) in SECTIONS.items():
        try:
            parts.append((name, heading, find(material), ""))
        except UserError as error:
            parts.append((name, heading, {}, str(error)))
    try:
        number = version("musclemap")
    except PackageNotFoundError:
        number = "(not installed)"
    return render(
        "report.html",
        run=material.record,
        half=material.half,
        synthetic=is_synthetic(clip.video_id for clip in material.predictions.clips),
        parts=parts,
        version=number,
    )


def _results(material: Material) -> Found:
    table = figures.results_table(material)
    return {"table": table, "beside": len({run.run for run in table.runs}) - 1}


def _regions(material: Material) -> Found:
    scores = {name: regions for name, (_, regions) in material.regions.items()}
    ours = {clip.activity for clip in material.scored.clips} <= set(load_activities())
    weak = weak_regions() if ours else ()
    header = ["muscle region", *(["sources agree, kappa"] if ours else [])]
    for name in scores:
        header += [f"{name}: AP in %", "chance in %", "p", "active in clips"]
    rows = []
    for muscle in load_muscles():
        line = [muscle.called(material.plain) + (" ?" if muscle in weak else "")]
        if ours:
            kappa = source_agreement()[muscle.slug]
            line.append(NOT_THERE if kappa is None else f"{kappa:.2f}")
        for each in scores.values():
            line += [percent(each.average_precision[muscle.index])]
            line += [percent(each.chance[muscle.index]), p_value(each.p[muscle.index])]
            line += [f"{each.positives[muscle.index]} of {each.clips}"]
        rows.append(line)
    svg = plots.to_svg(figures.regions_figure(material), "Average precision of each muscle region")
    called = [muscle.called(material.plain) for muscle in weak]
    return {"svg": svg, "header": header, "rows": rows, "weak": called, "kappa": WEAK_BELOW}


def _activities(material: Material) -> Found:
    confusion = analysis.activity_confusion(material.scored)
    pairs = sorted(
        (-confusion.share[row, column], row, column)
        for row, column in zip(*np.nonzero(confusion.share), strict=True)
        if row != column
    )
    names = [words(name) for name in confusion.names]
    rows = [
        [names[row], names[column], f"{percent(-share, digits=0)} % of {confusion.clips[row]}"]
        for share, row, column in pairs[:10]
    ]
    svg = plots.to_svg(figures.confusion_figure(material), "Confusion of activities")
    return {"svg": svg, "confusion": confusion, "clips": len(material.scored.clips), "rows": rows}


def _calibration(material: Material) -> Found:
    header = ["probability in %"]
    each = {name: analysis.reliability(clips) for name, (_, clips) in material.splits.items()}
    for name in each:
        header += [f"{name}: predicted %", "active %", "pairs"]
    bins = len(next(iter(each.values())).count)
    rows = []
    for number in range(bins):
        line = [f"{100 * number / bins:.0f} to {100 * (number + 1) / bins:.0f}"]
        for values in each.values():
            line += [percent(values.predicted[number]), percent(values.observed[number])]
            line += [str(values.count[number])]
        rows.append(line)
    svg = plots.to_svg(figures.calibration_figure(material), "Reliability diagram")
    errors = {name: values.error for name, values in each.items()}
    return {"svg": svg, "errors": errors, "header": header, "rows": rows}


def _training(material: Material) -> Found:
    svg = plots.to_svg(figures.training_figure(material), "Training curves")
    record, log = material.record, analysis.read_log(material.run_dir)
    rows = [
        ["clips for training", str(record.train_clips)],
        ["optimiser steps", f"{len(log['step'])} in {int(log['epoch'][-1]) + 1} epochs"],
        ["last loss", f"{log['loss'][-1]:.4f}"],
        ["largest learning rate", f"{log['learning_rate'].max():.3g}"],
        ["validation mAP, known and new", f"{percent(record.scores.means['val'].map)} %"],
    ]
    if training := record.training:
        took = f"{training.seconds:.0f} s on {record.machine.device}"
        rows += [
            ["time since it was last started", took],
            ["speed", f"{training.clips_per_s:.1f} clips/s"],
            ["waiting for data", f"{percent(training.wait_share)} % of the time"],
        ]
    return {"svg": svg, "rows": rows}


def _clips(material: Material) -> Found:
    order, ranking = analysis.clip_order(material.scored)
    if not len(order):
        raise UserError("no scored clip has an active region")
    shown = min(CLIPS_SHOWN, (len(order) + 1) // 2)
    groups = {"Best ranked": order[:shown], "Worst ranked": order[::-1][: len(order) - shown]}
    places, absent = _places(material)
    return {
        "absent": absent,
        "count": len(order),
        "half": material.half,
        "groups": {
            heading: [
                {
                    **_card(material, number, "ranked", place.grades if place else None),
                    "ranking": ranking[number],
                    "strips": _strips(place),
                }
                for number in members[:shown]
                for place in [places.get(material.scored.clips[number].clip_id)]
            ]
            for heading, members in groups.items()
        },
    }


def _places(material: Material) -> tuple[dict[str, Clip], str]:
    """Where the scored clips lie; and a note where some are not there."""
    try:
        read_dataset_info(material.data_dir)
        split_of = {clip.clip_id: clip.split for clip in material.scored.clips}
        splits = sorted(set(split_of.values()))
        found = {
            clip.clip_id: clip for clip in read_clips(material.data_dir, splits, None, split_of)
        }
    except UserError as error:
        return {}, f"No pictures: {error}"
    missing = len(material.scored.clips) - len(found)
    if missing:
        return found, (
            f"{missing} of the scored clips are not in {material.data_dir}: no pictures of them."
        )
    return found, ""


def _card(material: Material, number: int, place: str, grades: Sequence[float] | None) -> Found:
    """What is said of every shown clip.

    Args:
        place: keeps the ids of its body maps apart.
        grades: shades of the label; two without them.
    """
    clip, scores = material.scored.clips[number], material.scored.scores[number]
    maps = {
        what: body_map_svg(
            values,
            labels=False,
            legend=False,
            id_prefix=f"{place}-{number}-{what}-",
            label_from=limit,
            plain=material.plain,
        )
        for what, values, limit in (
            ("label", grades or np.array(clip.muscles, float), None),
            ("predicted", scores, LABEL_FROM),
        )
    }
    return {
        "activity": words(clip.activity),
        "kind": "new" if clip.split.endswith("_new") else "known",
        "clip_id": clip.clip_id,
        "maps": maps,
        "lists": analysis.region_lists(
            clip.muscles, scores, material.record.threshold, plain=material.plain
        ),
    }


def _strips(clip: Clip | None) -> dict[str, Picture | None]:
    """Caption -> picture of each modality; or None, and the caption says why."""
    if clip is None:
        return {"The clip is not in the data set.": None}
    try:
        strips, numbers = clip_strips(clip)
    except UserError as error:
        return {str(error): None}
    captioned: dict[str, Picture | None] = {}
    for modality in MODALITIES.values():
        if modality.key not in strips:
            continue  # numbers that nobody draws
        picture = strips[modality.key]
        caption = ": ".join(filter(None, (modality.title, modality.legend)))
        if not captioned:
            caption += f", frames {', '.join(map(str, numbers))} of {clip.frames}"
        captioned[f"{modality.title} was not extracted." if picture is None else caption] = picture
    return captioned


def _gradcam(material: Material) -> Found:
    explanations = material.explanations
    numbers = {clip.clip_id: number for number, clip in enumerate(material.scored.clips)}
    cards = []
    for each in explanations:
        number = numbers[each.clip.clip_id]
        places, heated = figures.shown_frames(each)
        cards.append(
            {
                **_card(material, number, "explained", each.clip.grades),
                "score": material.scored.scores[number, material.region],
                "frames": strip(list(each.frames[places])),
                "heat": strip(heated),
                "frame_numbers": ", ".join(str(n) for n in each.frame_numbers[places]),
                "frame_count": each.clip.frames,
                "is_zero": not each.heat.any(),
            }
        )
    name = material.names[material.region]
    return {"region": name, "region_rule": material.region_rule, "cards": cards}


def _coverage(material: Material) -> Found:
    rows = [
        [
            words(split),
            str(scores.clips),
            NOT_THERE if scores.planned is None else str(scores.planned),
            NOT_THERE if scores.coverage is None else f"{percent(scores.coverage)} %",
            str(scores.videos),
            str(scores.activities),
            f"{scores.regions} of {len(scores.per_region_ap)}",
            str(scores.trivial_regions),
        ]
        for split, scores in material.record.scores.splits.items()
    ]
    header = ["split", "clips", "planned", "coverage", "videos", "activities"]
    return {"header": [*header, "regions in the mean", "regions always on"], "rows": rows}


def _settings(material: Material) -> Found:
    values = read_identity(material.run_dir).settings.to_dict()
    record, changes = material.record, material.record.changes
    command = f"musclemap benchmark --model {record.model} --preset {record.preset}"
    command += f" --seed {record.seed}"
    command += "".join(f" --set {name}={_plain(value)}" for name, value in changes.items())
    rows = [
        [f"{field.name} (changed)" if field.name in changes else field.name,
         _plain(values[field.name]), str(field.metadata["doc"])]
        for field in dataclasses.fields(Settings)
    ]  # fmt: skip
    changed = ", ".join(f"{name} = {_plain(value)}" for name, value in changes.items())
    return {"changed": changed or "nothing", "command": command, "rows": rows}


def _environment(material: Material) -> Found:
    record, data = material.record, material.record.data
    machine = dataclasses.asdict(record.machine)
    rows = [
        ["model", f"{record.parameters:,} parameters"],
        ["one view", cost_of_a_view(record)],
        ["scoring", f"{record.cost.clips_per_s:.1f} clips/s, all views"],
        ["machine", ", ".join(f"{name} {value}" for name, value in machine.items())],
        ["data set", f"{data.name}, clips {data.fingerprint[:16]}"],
    ]
    if data.subset:
        rows.append(["subset", "only the clips of a list"])
    if data.bad_skeletons is not None:
        rows.append(["skeletons", f"{data.bad_skeletons} clips left out for their quality"])
    if data.folds:
        rows.append(["protocol", f"{data.protocol}, fold {data.fold} of {data.folds}"])
    try:
        info = read_dataset_info(material.data_dir)
        for name, made in info.get("modalities", {}).items():
            rows.append([name, f"{made['extractor']} {made['version']}"])
        tools = info.get("tools", {})
        rows.append(["built with", ", ".join(f"{name} {tools[name]}" for name in tools)])
    except UserError as error:
        rows.append(["how it was built", str(error)])
    return {"rows": rows}


def _plain(value: SettingValue) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


SECTIONS: dict[str, tuple[str, Callable[[Material], Found]]] = {
    "results": ("Results", _results),
    "regions": ("Muscle regions", _regions),
    "activities": ("Activities", _activities),
    "calibration": ("Calibration", _calibration),
    "training": ("Training", _training),
    "clips": ("Best and worst clips", _clips),
    "gradcam": ("Where it looks", _gradcam),
    "coverage": ("Coverage", _coverage),
    "settings": ("Settings", _settings),
    "environment": ("Environment", _environment),
}
"""Anchor, and name of the macro -> heading, and what finds the section's content."""
